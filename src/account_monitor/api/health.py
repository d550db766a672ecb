"""Health: is the service well, is it ready? Answered from the first moment on."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from account_monitor.api.access import EVERYONE, Caller
from account_monitor.api.asgi import Reply
from account_monitor.api.sight import check_seen_by
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Check, Status, worst
from account_monitor.monitor.reports import time_text


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `since` is when it took on this status; `message` is empty for who may not know."""

    status: str
    message: str
    since: str


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """How well the service is: the worst of its checks. `uptime` is in whole seconds."""

    status: str
    version: str
    uptime: int
    checks: dict[str, CheckReport]


class ReadyReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the service may be relied on, and if not, why."""

    ready: bool
    reason: str | None


class LiveReport(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers, whatever it can do at the moment."""

    live: bool


def health_report(desk: Desk, caller: Caller = EVERYONE) -> HealthReport:
    """Report the health of the process: states to everyone, texts to those who may know what is in them.

    Alarms tell of balances, and what else is not well may name any account: who sees some accounts only reads the texts
    of these. Checks of other accounts are summed up for them under one name, such as `journal`: the worst of them.
    """
    return HealthReport(
        status=desk.health.status.value,
        version=desk.version,
        uptime=max(0, desk.clock() - desk.started_ms) // 1000,
        checks={
            name: CheckReport(
                status=check.status.value,
                message=check.message if _may_read(caller, name) else "",
                since=time_text(check.since_ms),
            )
            for name, check in _checks_seen_by(caller, desk.health.checks).items()
        },
    )


def _checks_seen_by(caller: Caller, checks: dict[str, Check]) -> dict[str, Check]:
    seen: dict[str, Check] = {}
    for name, check in checks.items():
        shown = check_seen_by(caller, name)
        seen[shown] = worst([seen[shown], check]) if shown in seen else check
    return dict(sorted(seen.items()))


def _may_read(caller: Caller, check: str) -> bool:
    if caller.accounts is None:
        return True
    _, _, account = check.partition(":")
    return bool(account) and caller.sees(account)


def ready_report(desk: Desk, caller: Caller = EVERYONE) -> ReadyReport:
    """Report whether the process is ready; why not, to those who may know, and to everyone what it waits for."""
    missing = desk.missing
    if missing is None or _may_read(caller, missing):
        return ReadyReport(ready=missing is None, reason=desk.unready)
    return ReadyReport(ready=False, reason=f"waits for {check_seen_by(caller, missing)}; with a token, it is said why")


def health_reply(desk: Desk, caller: Caller) -> Reply:
    """Answer `/health`; 503 only when unhealthy."""
    is_unhealthy = desk.health.status is Status.UNHEALTHY
    status = HTTPStatus.SERVICE_UNAVAILABLE if is_unhealthy else HTTPStatus.OK
    return Reply(status, msgspec.json.encode(health_report(desk, caller)))


def live_reply(desk: Desk, caller: Caller) -> Reply:
    """Answer `/live`: that the process answers is all it says, for whoever would end one that hangs."""
    return Reply(HTTPStatus.OK, msgspec.json.encode(LiveReport(live=True)))


def ready_reply(desk: Desk, caller: Caller) -> Reply:
    """Answer `/ready`."""
    report = ready_report(desk, caller)
    return Reply(HTTPStatus.OK if report.ready else HTTPStatus.SERVICE_UNAVAILABLE, msgspec.json.encode(report))

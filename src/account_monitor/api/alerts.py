"""Alerts: what is or was wrong, who looks after it, and of what people do not want to hear for a while."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from account_monitor.api import problems
from account_monitor.api.answering import OF_ACCOUNT, GivenCaller, GivenDesk, GivenMonitor, explained, in_turn
from account_monitor.api.orders import OF_ORDER, RecordedReport, recorded, signed, text_given
from account_monitor.api.problems import Refused
from account_monitor.config import values
from account_monitor.ledger.alerts import Alert, AlertState, AlertType, Silence
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.reports import AlertReport, alert_report, time_text

LONGEST_SILENCE_SECONDS = 30 * 86_400
"""A silence that nobody remembers is an alert that nobody hears."""

_seconds = values.seconds("0s")

OF_ACKNOWLEDGING = {**OF_ORDER, **explained(problems.UNKNOWN_ACCOUNT, problems.NOT_FIRING, problems.ACKNOWLEDGED)}


class AlertsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts of an account."""

    alerts: list[AlertReport]


class SilenceReport(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which people are not told of some alerts. Null: of every type, of every symbol."""

    type: str | None
    symbol: str | None
    since: str
    until: str
    by: str
    reason: str


class SilencesReport(msgspec.Struct, frozen=True, kw_only=True):
    """The silences that are in effect."""

    silences: list[SilenceReport]


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who looks after an alert; with tokens, the one of the token, whatever stands here."""

    by: str | None = None


class SilenceOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long people are not to be told, of what, why, and who says so. A duration of 0s ends a silence."""

    duration: str
    reason: str
    by: str | None = None
    type: AlertType | None = None
    symbol: str | None = None


@get("/api/alerts", operation_id="alerts", summary="What is or was wrong", responses=OF_ACCOUNT)
async def alerts(
    desk: GivenDesk,
    monitor: GivenMonitor,
    limit: Annotated[int, QueryParameter(ge=1, le=1000, description="Alerts at most.")] = 50,
    state_: Annotated[
        AlertState | None, QueryParameter(name="state", description="Only those in this state now.")
    ] = None,
    type_: Annotated[AlertType | None, QueryParameter(name="type", description="Only those of this type.")] = None,
) -> AlertsReport:
    """As journaled, the one that changed last first; while one fires, its text and its figures are those of now."""
    if state_ == "FIRING":  # the ledger holds all of them; the journal may be long
        firing = reversed(monitor.alerts)
        found = [alert for alert in firing if alert.state == "FIRING" and type_ in (None, alert.type)][:limit]
    else:  # a type that is rare takes a look at every alert
        async with in_turn(desk.looking_back):
            found = await asyncio.to_thread(_read, monitor, limit, state_, type_)
    return AlertsReport(alerts=[alert_report(monitor.name, monitor.bring_up_to_date(alert)) for alert in found])


@get("/api/alerts/silences", operation_id="silences", summary="What is silenced", responses=OF_ACCOUNT)
async def silences(desk: GivenDesk, monitor: GivenMonitor) -> SilencesReport:
    """The silences that are in effect, the youngest last."""
    now_ms = desk.clock()
    return SilencesReport(
        silences=[
            SilenceReport(
                type=silence.type, symbol=silence.symbol, since=time_text(silence.from_ms),
                until=time_text(silence.until_ms), by=silence.by, reason=silence.reason,
            )
            for silence in monitor.silences if silence.from_ms <= now_ms < silence.until_ms
        ]
    )  # fmt: skip


@post(
    "/api/alerts/{alert_id:str}/ack", operation_id="acknowledge", summary="Look after an alert",
    responses=OF_ACKNOWLEDGING, status_code=201,
)  # fmt: skip
async def acknowledge(
    caller: GivenCaller,
    monitor: GivenMonitor,
    alert_id: Annotated[str, PathParameter(description="`id` of an alert that fires.")],
    data: JSONBody[Acknowledgement],
) -> RecordedReport:
    """Let people know who looks after an alert: they are not reminded of it any more, unless it becomes more severe."""
    by = signed(caller, data.by)
    known = next((alert for alert in monitor.alerts if alert.id == alert_id), None)
    if known is not None and known.state == "FIRING" and known.acked_by == by:
        raise Refused(problems.ACKNOWLEDGED, f"{by[:50]!r} looks after alert {alert_id[:50]!r} already")
    if monitor.failure is not None or monitor.journal.failure is not None:
        raise Refused(problems.NOT_RECORDED, f"the journal of {monitor.name} records nothing now")
    alert = monitor.acknowledge(alert_id, by)
    if alert is None:
        raise Refused(problems.NOT_FIRING, f"no alert {alert_id[:50]!r} of account {monitor.name} fires")
    return await recorded(monitor, alert, by)


@post("/api/alerts/silence", operation_id="silence", summary="Silence alerts", responses=OF_ORDER, status_code=201)
async def silence(
    caller: GivenCaller, desk: GivenDesk, monitor: GivenMonitor, data: JSONBody[SilenceOrder]
) -> RecordedReport:
    """Do not tell people of some alerts for a while, such as a maintenance. They are journaled, published on NATS and
    shown all the same; what still fires when the silence is over is told then.
    """
    symbol = None if data.symbol is None else text_given("symbol", data.symbol)
    by, reason = signed(caller, data.by), text_given("reason", data.reason)
    now_ms = desk.clock()
    until_ms = now_ms + int(_duration(data.duration) * 1000)
    return await recorded(monitor, Silence(now_ms, until_ms, data.type, symbol, by, reason), by)


HANDLERS = (alerts, silences, acknowledge, silence)
REPORTS: tuple[type[msgspec.Struct], ...] = (
    Acknowledgement, AlertReport, AlertsReport, SilenceOrder, SilenceReport, SilencesReport,
)  # fmt: skip


def _duration(text: str) -> float:
    try:
        seconds = _seconds(text)
    except ValueError as error:
        raise Refused(problems.BAD_BODY, f"duration: was {text[:50]!r}, {error}") from None
    if 0 < seconds < 1:
        raise Refused(problems.BAD_BODY, f"duration: was {text[:50]!r}, expected 0s, or at least 1s")
    if seconds > LONGEST_SILENCE_SECONDS:
        raise Refused(problems.BAD_BODY, f"duration: was {text[:50]!r}, expected at most 30d")
    return seconds


def _read(monitor: Monitor, limit: int, state: AlertState | None, type_: AlertType | None) -> list[Alert]:
    """Read alerts from the journal, the youngest first: of each its last transition, if that is as wanted."""
    seen: set[str] = set()
    found: list[Alert] = []
    for entry in monitor.journal.remarks("alert"):
        alert = entry.event
        assert isinstance(alert, Alert)  # the journal was asked for alerts
        if alert.id in seen:
            continue
        seen.add(alert.id)
        if state in (None, alert.state) and type_ in (None, alert.type):
            found.append(alert)
            if len(found) == limit:
                break
    return found

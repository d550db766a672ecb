"""Cluster: which processes share the accounts, and which of them holds each?"""

from __future__ import annotations

import msgspec
from litestar import get

from account_monitor.api.answering import OF_ALL, GivenCaller, GivenDesk
from account_monitor.monitor.reports import time_text
from account_monitor.monitor.roll import RollAccount


class MemberReport(msgspec.Struct, frozen=True, kw_only=True):
    """A process that takes part. None: it does not say where it is reached."""

    member: str
    address: str | None
    alive: bool
    draining: bool
    self: bool


class HoldingReport(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds an account, and under which epoch, and who could go on at once. Member None: nobody does now."""

    account: str
    member: str | None
    address: str | None
    epoch: int | None
    here: bool
    follower: str | None


class ClusterReport(msgspec.Struct, frozen=True, kw_only=True):
    """The processes that share the accounts, as this one saw them last.

    Without leases `store` is None, and this process holds everything. It is also None for who sees some accounts only.
    """

    store: str | None
    ttl_ms: int | None
    suspended: bool
    problem: str | None
    members: list[MemberReport]
    accounts: list[HoldingReport]
    timestamp: str


@get("/api/cluster", operation_id="cluster", summary="Who holds what", responses=OF_ALL)
async def cluster(desk: GivenDesk, caller: GivenCaller) -> ClusterReport:
    """The processes that share the accounts, and which of them speaks for each. Ask the holder for an account."""
    now, accounts = time_text(desk.clock()), desk.accounts
    if desk.cluster is None:
        held = [
            HoldingReport(
                account=account, member=None, address=None, here=True, follower=None,
                epoch=None if (monitor := desk.monitor(account)) is None else monitor.view.epoch,
            )
            for account in accounts
        ]  # fmt: skip
        return ClusterReport(
            store=None, ttl_ms=None, suspended=False, problem=None, members=[], accounts=held, timestamp=now
        )
    roll = desk.cluster.roll()
    sees_all = caller.accounts is None
    return ClusterReport(
        store=roll.store if sees_all else None,
        ttl_ms=round(roll.ttl_seconds * 1000),
        suspended=roll.is_suspended,
        problem=roll.problem if sees_all else None,
        members=[
            MemberReport(
                member=each.name, address=each.address or None, alive=each.is_alive, draining=each.is_draining,
                self=each.is_self,
            )
            for each in roll.members
        ],
        accounts=[_holding(each) for each in roll.accounts if each.account in accounts],
        timestamp=now,
    )  # fmt: skip


def _holding(each: RollAccount) -> HoldingReport:
    return HoldingReport(
        account=each.account,
        member=each.member,
        address=each.address or None,
        epoch=each.epoch or None,
        here=each.is_here,
        follower=each.follower,
    )


HANDLERS = (cluster,)
REPORTS: tuple[type[msgspec.Struct], ...] = (ClusterReport, HoldingReport, MemberReport)

"""Orders: what a person may have done, journaled with who ordered it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
import structlog
from litestar import Response
from litestar.openapi.datastructures import ResponseSpec

from account_monitor.api import problems
from account_monitor.api.access import Caller
from account_monitor.api.accounts import whereabouts
from account_monitor.api.answering import BY_FRAMEWORK, EVERYWHERE, explained
from account_monitor.api.problems import Refused
from account_monitor.errors import JournalClosing, RecordingStopped
from account_monitor.ledger.events import Event
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.reports import time_text

RECORD_SECONDS = 5.0
"""How long the journal may take."""

COPY_SECONDS = 2.0
"""How long an answer waits until what was ordered is where the next holder of the account reads it."""

PENDING = (
    "recorded here, and not yet where another process would read it: if this machine is lost now, so is the order;"
    " look whether it is there before it is given again"
)

MAX_TEXT = 500

T = TypeVar("T")

log = structlog.get_logger()


class RecordedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was ordered, as an entry of the journal; `by` is who it says gave the order.

    `pending`: why it may still be lost, where several processes share the accounts; the status is 202 then.
    """

    account: str
    seq: int
    event: str
    by: str
    timestamp: str
    pending: str | None = None


def accepted(report: type[msgspec.Struct]) -> dict[int, ResponseSpec]:
    """Describe the answer to an order that is not copied in time, where several processes share the accounts."""
    told = "Recorded, and not copied yet to where another process would read it; `pending` says what that means"
    return {202: ResponseSpec(report, generate_examples=False, description=told)}


OF_ORDER = {
    **explained(
        *EVERYWHERE, *BY_FRAMEWORK, problems.FOREIGN_ORIGIN, problems.UNKNOWN_ACCOUNT, problems.NO_JSON,
        problems.BAD_BODY, problems.FOLDING, problems.HELD_ELSEWHERE, problems.NOT_RECORDED,
    ),
    **accepted(RecordedReport),
}  # fmt: skip

Report = TypeVar("Report", bound=msgspec.Struct)
"""With a field `pending`."""


async def answer(desk: Desk, account: str, seq: int, report: Report, *, status: int = 201) -> Response[Report]:
    """Answer an order once its entry is where the next holder of the account reads it, or say that it is not there.

    Without leases there is no other holder, and nothing to wait for.
    """
    if desk.cluster is None or await desk.cluster.is_replicated(account, seq, COPY_SECONDS):
        return Response(report, status_code=status)
    log.warning("order_not_copied", account=account, seq=seq, seconds=COPY_SECONDS)
    return Response(msgspec.structs.replace(report, pending=PENDING), status_code=202)


async def order(desk: Desk, monitor: Monitor, event: Event, by: str) -> Response[RecordedReport]:
    """Journal what `by` ordered, and answer. Raises: Refused where the journal does not take it in time."""
    report = await recorded(desk, monitor, event, by)
    return await answer(desk, monitor.name, report.seq, report)


async def recorded(desk: Desk, monitor: Monitor, event: Event, by: str) -> RecordedReport:
    """Journal what `by` ordered, and report it. Raises: Refused where the journal does not take it, or not in time."""
    late = Refused(problems.NOT_RECORDED, f"the journal of {monitor.name} did not take it in time; look before a retry")
    try:
        entry = await within(RECORD_SECONDS, monitor.record(event, source="operator"), late)
    except RecordingStopped as error:
        raise Refused(problems.NOT_RECORDED, f"the journal of {monitor.name} cannot be written: {error}") from error
    except JournalClosing as error:
        raise _closing(desk, monitor.name, str(error)) from error
    log.info("operator_ordered", account=monitor.name, event_id=event.event_id, seq=entry.seq, by=by)
    return RecordedReport(
        account=monitor.name, seq=entry.seq, event=event.event_id, by=by, timestamp=time_text(entry.recorded_at_ms)
    )


def _closing(desk: Desk, account: str, reason: str) -> Refused:
    """Refuse an order of an account that is closed here: where there are several processes, another will hold it."""
    if desk.cluster is None:
        return Refused(problems.NOT_RECORDED, reason)
    holder = desk.cluster.elsewhere(account)
    who = "another process is about to hold it, and /api/cluster says which" if holder is None else whereabouts(holder)
    return Refused(problems.HELD_ELSEWHERE, f"{reason}; {who}")


def signed(caller: Caller, by: str | None) -> str:
    """Return who gave an order: the name of the token, whatever the order says; without tokens, who it says.

    Raises: Refused where nobody says.
    """
    if caller.token_id:
        return caller.name
    if by is None:
        raise Refused(problems.BAD_BODY, "by: is missing, expected who gives the order")
    return text_given("by", by)


async def within(seconds: float, work: Awaitable[T], late: Refused) -> T:
    """Return what work brings in time. Raises: `late`."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise late from None


def text_given(name: str, text: str) -> str:
    """Return a text of a body without the space around it. Raises: Refused for one that is empty, or too long."""
    if not text.strip() or len(text) > MAX_TEXT or not text.isprintable():  # a new line would look like another alert
        wanted = f"expected 1 to {MAX_TEXT} printable characters"
        raise Refused(problems.BAD_BODY, f"{name}: was {text[:50]!r}, {wanted}")
    return text.strip()

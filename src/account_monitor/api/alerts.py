"""Alerts: what is or was wrong, who looks after it, and of what people do not want to hear for a while."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final, TypeVar, get_args

import msgspec
from litestar import Response, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from account_monitor.api import problems
from account_monitor.api.answering import OF_ACCOUNT, GivenCaller, GivenDesk, GivenMonitor, explained, in_turn
from account_monitor.api.orders import OF_ORDER, RecordedReport, accepted, answer, order, recorded, signed, text_given
from account_monitor.api.problems import Refused
from account_monitor.config import values
from account_monitor.ledger.alerts import Alert, AlertState, AlertType, Silence
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.reports import AlertReport, alert_report, time_text

LONGEST_SILENCE_SECONDS = 30 * 86_400
"""A silence that nobody remembers is an alert that nobody hears."""

STATES: Final[tuple[AlertState, ...]] = get_args(AlertState)
TYPES: Final[tuple[AlertType, ...]] = tuple(sorted(name for names in get_args(AlertType) for name in get_args(names)))

MOST_READ = 10_000
"""Transitions that one question reads at most: a tenth of a second. A type that is rare may be further back."""

NAMES_SHOWN = 20
"""Of what a silence may be about, where nothing is called as it says."""

Choice = TypeVar("Choice", bound=str)

_seconds = values.seconds("0s")

OF_ACKNOWLEDGING = {**OF_ORDER, **explained(problems.UNKNOWN_ACCOUNT, problems.NOT_FIRING, problems.ACKNOWLEDGED)}


class AlertsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts of an account, and how far back they were looked for."""

    alerts: list[AlertReport]
    looked_back_to: str | None


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


class SilencedReport(RecordedReport, frozen=True, kw_only=True):
    """A silence, as an entry of the journal, and what may be wrong with it."""

    note: str | None


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
        str | None,
        QueryParameter(name="state", schema_extra={"enum": [*STATES]}, description="Only those in this state now."),
    ] = None,
    type_: Annotated[
        str | None, QueryParameter(name="type", schema_extra={"enum": [*TYPES]}, description="Only those of this type.")
    ] = None,
) -> AlertsReport:
    """As journaled, the one that changed last first; while one fires, its text and its figures are those of now."""
    wanted_state, wanted_type = _one_of("state", state_, STATES), _one_of("type", type_, TYPES)
    looked_back_ms: int | None = None
    if wanted_state == "FIRING":  # the ledger holds all of them; the journal may be long
        firing = reversed(monitor.alerts)
        found = [alert for alert in firing if alert.state == "FIRING" and wanted_type in (None, alert.type)][:limit]
    else:
        async with in_turn(desk.looking_back):
            found, looked_back_ms = await asyncio.to_thread(_read, monitor, limit, wanted_state, wanted_type)
    return AlertsReport(
        alerts=[alert_report(monitor.name, monitor.bring_up_to_date(alert)) for alert in found],
        looked_back_to=None if looked_back_ms is None else time_text(looked_back_ms),
    )


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
    desk: GivenDesk,
    monitor: GivenMonitor,
    alert_id: Annotated[str, PathParameter(description="`id` of an alert that fires.")],
    data: JSONBody[Acknowledgement],
) -> Response[RecordedReport]:
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
    return await order(desk, monitor, alert, by)


@post(
    "/api/alerts/silence", operation_id="silence", summary="Silence alerts", status_code=201,
    responses={**OF_ORDER, **accepted(SilencedReport)},
)  # fmt: skip
async def silence(
    caller: GivenCaller, desk: GivenDesk, monitor: GivenMonitor, data: JSONBody[SilenceOrder]
) -> Response[SilencedReport]:
    """Do not tell people of some alerts for a while, such as a maintenance. They are journaled, published on NATS and
    shown all the same; what still fires when the silence is over is told then. `note` says where nothing is called as
    `symbol` says: a position may still be opened under that name, or it is misspelt.
    """
    symbol = None if data.symbol is None else text_given("symbol", data.symbol)
    by, reason = signed(caller, data.by), text_given("reason", data.reason)
    now_ms = desk.clock()
    until_ms = now_ms + int(_duration(data.duration) * 1000)
    entry = await recorded(desk, monitor, Silence(now_ms, until_ms, data.type, symbol, by, reason), by)
    note = None if symbol is None or until_ms == now_ms else _note_on(monitor, symbol)
    silenced = SilencedReport(**msgspec.structs.asdict(entry), note=note)
    return await answer(desk, monitor.name, entry.seq, silenced)


HANDLERS = (alerts, silences, acknowledge, silence)
REPORTS: tuple[type[msgspec.Struct], ...] = (
    Acknowledgement, AlertReport, AlertsReport, SilencedReport, SilenceOrder, SilenceReport,
    SilencesReport,
)  # fmt: skip


def _one_of(name: str, given: str | None, allowed: tuple[Choice, ...]) -> Choice | None:
    """Return the value of a filter, None where none is given. Raises: Refused, listing what there is."""
    if given is None:
        return None
    found = next((each for each in allowed if each == given), None)
    if found is None:
        raise problems.bad_parameter(name, f"was {given[:50]!r}, expected one of {', '.join(allowed)}")
    return found


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


def _note_on(monitor: Monitor, symbol: str) -> str | None:
    """Return what to say of a silence about something that is not there, None where it is."""
    view = monitor.view
    held = {*view.positions, *view.balances}
    known = held | {alert.symbol for alert in monitor.alerts if alert.symbol is not None}
    if symbol in known:
        return None
    names = sorted(held)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    shown = f"known: {', '.join(names[:NAMES_SHOWN])}{more}" if names else "nothing is known yet"
    return f"account {monitor.name} has nothing called {symbol[:60]!r} now, and the silence counts once it has; {shown}"


def _read(
    monitor: Monitor, limit: int, state: AlertState | None, type_: AlertType | None
) -> tuple[list[Alert], int | None]:
    """Read alerts from the journal, the youngest first: of each its last transition, if that is as wanted.

    Beside them: when the last was that was read, where others before it were not; None where nothing was left out.
    """
    seen: set[str] = set()
    found: list[Alert] = []
    for count, entry in enumerate(monitor.journal.remarks("alert"), start=1):
        alert = entry.event
        assert isinstance(alert, Alert)  # the journal was asked for alerts
        if count > MOST_READ:
            return found, alert.at_ms
        if alert.id in seen:
            continue
        seen.add(alert.id)
        if state in (None, alert.state) and type_ in (None, alert.type):
            found.append(alert)
            if len(found) == limit:
                break
    return found, None

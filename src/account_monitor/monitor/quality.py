"""Quality: how good is what an exchange tells of late, and what of it is poor? Facts; feeds measure them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from account_monitor.monitor.histogram import Histogram

WINDOW_SECONDS = 300.0
"""What is recent: by this, quality is judged."""

POOR_LAG_MS = 2_000
"""Beyond, 99 of 100 messages, or statements, are not of now any more."""

POOR_GAPS = 3
POOR_GAP_MS = 10_000
"""So many gaps of late, or so much time in them: more than the everyday reconnect."""

POOR_DISORDER_SHARE = 0.01
POOR_FAILED_SHARE = 0.05
LEAST_FAILED = 3
"""A request that fails now and then is an everyday event."""

POOR_WEIGHT_SHARE = 0.9
"""Of the limit: beyond, what is urgent has hardly room."""

POOR_CLOCK_MS = 1_000

OLD_STATEMENT_SECONDS = 20.0
OLD_STATEMENT_INTERVALS = 3
"""Beyond the larger of the two, nobody knows whether the account agrees with the exchange."""


class Spread(NamedTuple):
    """How milliseconds were distributed of late. None: there were none."""

    size: int
    p50_ms: int | None = None
    p90_ms: int | None = None
    p99_ms: int | None = None
    max_ms: int | None = None


class Measured(NamedTuple):
    """Milliseconds of late, and all since the start."""

    recent: Spread
    total: Histogram


class Tally(NamedTuple):
    """How often something happened: since the start, and of late."""

    total: int
    recent: int


class Gap(NamedTuple):
    """When the user stream was not heard, by the exchange's clock. `to_ms` None: it is not heard yet."""

    from_ms: int
    to_ms: int | None
    reason: str


class AccountQuality(NamedTuple):
    """What an exchange tells of one account. Times are of the exchange's clock."""

    account: str
    address: str
    """Of which requests are asked; names an AddressQuality."""
    is_heard: bool
    last_message_ms: int | None
    """When the last message of the user stream came."""
    reconnects: int
    lag: Measured
    """From the time that a message says to the moment that it came."""
    gaps: tuple[Gap, ...]
    """The youngest last; one that lasts is the last."""
    gap_count: Tally
    gap_ms: Tally
    """How long they took; one that lasts counts up to now."""
    messages: Tally
    """Messages about orders and the account."""
    repeated: Tally
    """Of these, those that had come before."""
    disordered: Tally
    """Of these, those that came after a younger one, for the first time."""
    unreadable: Tally
    """Messages that nobody could read."""
    contradicted: Tally
    """Fills of which the stream told otherwise than what was recorded."""
    fills_repeated: Mapping[str, int]
    """Fills that were told again, by the source that did."""
    stream_behind: Measured
    """How long after a statement had shown a change the stream told of it."""
    statement_behind: Measured
    """How long after the stream had told of a change a statement still did not show it."""
    untold_changes: Tally
    """Changes that a statement showed, and that the stream passed over or had not told of seconds later."""
    last_statement_ms: int | None
    """When the last statement was that was answered."""
    interval_seconds: float
    """How often statements are asked for at present."""


class Failure(NamedTuple):
    """A request that brought nothing."""

    at_ms: int
    reason: str


class AddressQuality(NamedTuple):
    """How one address of an exchange answers. Times are of the exchange's clock."""

    address: str
    weight_used: int
    weight_limit: int
    limited_until_ms: int | None
    """Until when the exchange takes no requests, None while it does."""
    requests: Mapping[str, Tally]
    """By outcome: answered, refused (with a reason), limited (too many), unanswered (nothing, or no data)."""
    last_failure: Failure | None
    clock_offset_ms: int | None
    """How far the local clock is ahead, negative: behind. None: not known yet."""
    clock_error_ms: float | None
    """How wrong that may be."""
    silent_marks: str | None
    """Why no mark prices come, None while they do."""


class ExchangeQuality(NamedTuple):
    """All accounts that have an exchange, and all addresses."""

    now_ms: int
    accounts: Sequence[AccountQuality] = ()
    addresses: Sequence[AddressQuality] = ()


def poor_of_account(quality: AccountQuality, now_ms: int) -> list[str]:
    """Say what is poor of late about what is told of an account; nothing when all is well."""
    found = []
    if not quality.is_heard:
        found.append("the user stream is not heard")
    if quality.gap_count.recent >= POOR_GAPS or quality.gap_ms.recent >= POOR_GAP_MS:
        times = "gap" if quality.gap_count.recent == 1 else "gaps"
        found.append(f"not heard for {_seconds(quality.gap_ms.recent)} in {quality.gap_count.recent} {times}")
    if (quality.lag.recent.p99_ms or 0) > POOR_LAG_MS:
        found.append(f"one message of a hundred comes {_seconds(quality.lag.recent.p99_ms)} late or later")
    if quality.disordered.recent > POOR_DISORDER_SHARE * quality.messages.recent:
        found.append(f"{quality.disordered.recent} of {quality.messages.recent} messages came out of order")
    if quality.unreadable.recent:
        found.append(f"{quality.unreadable.recent} messages could not be read")
    if quality.contradicted.recent:
        found.append(f"the stream contradicted {quality.contradicted.recent} fills")
    if quality.untold_changes.recent:
        count = quality.untold_changes.recent
        what, of_what = ("change was", "it") if count == 1 else ("changes were", "them")
        found.append(f"{count} {what} in a statement, and the stream did not tell of {of_what}")
    if (quality.statement_behind.recent.p99_ms or 0) > POOR_LAG_MS:
        found.append(f"statements are {_seconds(quality.statement_behind.recent.p99_ms)} behind the stream")
    oldest = max(OLD_STATEMENT_SECONDS, OLD_STATEMENT_INTERVALS * quality.interval_seconds)
    if quality.last_statement_ms is None:
        found.append("no statement was answered yet")
    elif now_ms - quality.last_statement_ms > oldest * 1000:
        found.append(f"the last statement is {_seconds(now_ms - quality.last_statement_ms)} old")
    return found


def poor_of_address(quality: AddressQuality) -> list[str]:
    """Say what is poor of late about how an address answers; nothing when all is well."""
    found = []
    if quality.limited_until_ms is not None:
        found.append("the exchange takes no requests from this machine for now")
    if quality.weight_used > POOR_WEIGHT_SHARE * quality.weight_limit:
        found.append(f"{quality.weight_used} of {quality.weight_limit} of the request weight is used")
    all_recent = sum(tally.recent for tally in quality.requests.values())
    failed = all_recent - quality.requests["answered"].recent
    if failed >= LEAST_FAILED and failed > POOR_FAILED_SHARE * all_recent:
        found.append(f"{failed} of {all_recent} requests failed")
    if quality.clock_offset_ms is not None and quality.clock_error_ms is not None:
        if abs(quality.clock_offset_ms) > POOR_CLOCK_MS + quality.clock_error_ms:
            side = "ahead of" if quality.clock_offset_ms > 0 else "behind"
            found.append(f"this machine's clock is {_seconds(abs(quality.clock_offset_ms))} {side} the exchange's")
        if quality.clock_error_ms > POOR_CLOCK_MS:
            found.append(f"the exchange's clock is known to {_seconds(quality.clock_error_ms)} only")
    if quality.silent_marks is not None:
        found.append(f"no mark prices: {quality.silent_marks}")
    return found


def _seconds(milliseconds: float | None) -> str:
    return f"{(milliseconds or 0) / 1000:.1f} s"

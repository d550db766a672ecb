"""Exchange: how good is what the exchange tells? The same facts as JSON and as metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from account_monitor.api import problems
from account_monitor.api.accounts import account_meant
from account_monitor.api.answering import BY_FRAMEWORK, EVERYWHERE, GivenDesk, explained
from account_monitor.api.metrics import Distribution, Sample, Told
from account_monitor.monitor.quality import (
    WINDOW_SECONDS,
    AccountQuality,
    AddressQuality,
    ExchangeQuality,
    Failure,
    Gap,
    Spread,
    Tally,
    poor_of_account,
    poor_of_address,
)
from account_monitor.monitor.reports import interval_text, time_text


class SpreadReport(msgspec.Struct, frozen=True, kw_only=True):
    """How milliseconds were distributed in the window; None where there were none."""

    count: int
    p50_ms: int | None
    p90_ms: int | None
    p99_ms: int | None
    max_ms: int | None


class TallyReport(msgspec.Struct, frozen=True, kw_only=True):
    """How often something happened."""

    total: int
    recent: int


class GapReport(msgspec.Struct, frozen=True, kw_only=True):
    """When the user stream was not heard."""

    from_: str = msgspec.field(name="from")
    to: str | None
    reason: str


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the user stream of an account is heard."""

    is_heard: bool
    last_message: str | None
    lag: SpreadReport
    reconnects: int
    gaps: list[GapReport]
    gap_count: TallyReport
    gap_ms: TallyReport
    messages: TallyReport
    repeated: TallyReport
    disordered: TallyReport
    unreadable: TallyReport
    contradicted: TallyReport


class StatementsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What statements show beside the user stream."""

    last_statement: str | None
    interval_in_effect: str
    stream_behind: SpreadReport
    statement_behind: SpreadReport
    untold_changes: TallyReport


class AccountQualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """How good is what the exchange tells of an account."""

    account: str
    address: str
    poor: list[str]
    stream: StreamReport
    statements: StatementsReport
    fills_repeated: dict[str, int]


class WeightReport(msgspec.Struct, frozen=True, kw_only=True):
    """The request weight of the minute that runs, as the exchange counts."""

    used: int
    limit: int
    headroom: int


class FailureReport(msgspec.Struct, frozen=True, kw_only=True):
    """A request that brought nothing."""

    timestamp: str
    reason: str


class ClockReport(msgspec.Struct, frozen=True, kw_only=True):
    """The clock of this machine beside that of the exchange; None before it was asked."""

    offset_ms: int | None
    error_ms: int | None


class AddressQualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """How an address of an exchange answers, which accounts may share."""

    address: str
    poor: list[str]
    weight: WeightReport
    limited_until: str | None
    requests: dict[str, TallyReport]
    last_failure: FailureReport | None
    clock: ClockReport
    mark_prices: str | None


class ExchangeReport(msgspec.Struct, frozen=True, kw_only=True):
    """How good is what exchanges tell."""

    timestamp: str
    window: str
    accounts: list[AccountQualityReport]
    addresses: list[AddressQualityReport]


OF_EXCHANGE = explained(*EVERYWHERE, *BY_FRAMEWORK, problems.UNKNOWN_ACCOUNT)


@get("/api/exchange", operation_id="exchange", summary="How good what the exchange tells is", responses=OF_EXCHANGE)
async def exchange(
    desk: GivenDesk,
    account: Annotated[
        str | None, QueryParameter(description="Only this account, and the address that it asks; default: all.")
    ] = None,
) -> ExchangeReport:
    """Delays, gaps, repeats and disorder of the user streams, statements beside them, requests, weight and clock."""
    quality = desk.exchange_quality()
    if account is not None:
        name = account_meant(desk, account)
        quality = _only(quality, name)
    return ExchangeReport(
        timestamp=time_text(quality.now_ms),
        window=interval_text(WINDOW_SECONDS),
        accounts=[_account_report(each, quality.now_ms) for each in quality.accounts],
        addresses=[_address_report(each) for each in quality.addresses],
    )


HANDLERS = (exchange,)
REPORTS: tuple[type[msgspec.Struct], ...] = (
    AccountQualityReport, AddressQualityReport, ClockReport, ExchangeReport, FailureReport, GapReport, SpreadReport,
    StatementsReport, StreamReport, TallyReport, WeightReport,
)  # fmt: skip


def _only(quality: ExchangeQuality, account: str) -> ExchangeQuality:
    accounts = [each for each in quality.accounts if each.account == account]
    asked = {each.address for each in accounts}
    return quality._replace(accounts=accounts, addresses=[a for a in quality.addresses if a.address in asked])


def _account_report(quality: AccountQuality, now_ms: int) -> AccountQualityReport:
    return AccountQualityReport(
        account=quality.account,
        address=quality.address,
        poor=poor_of_account(quality, now_ms),
        stream=StreamReport(
            is_heard=quality.is_heard,
            last_message=_time(quality.last_message_ms),
            lag=_spread(quality.lag.recent),
            reconnects=quality.reconnects,
            gaps=[_gap(gap) for gap in quality.gaps],
            gap_count=_tally(quality.gap_count),
            gap_ms=_tally(quality.gap_ms),
            messages=_tally(quality.messages),
            repeated=_tally(quality.repeated),
            disordered=_tally(quality.disordered),
            unreadable=_tally(quality.unreadable),
            contradicted=_tally(quality.contradicted),
        ),
        statements=StatementsReport(
            last_statement=_time(quality.last_statement_ms),
            interval_in_effect=interval_text(quality.interval_seconds),
            stream_behind=_spread(quality.stream_behind.recent),
            statement_behind=_spread(quality.statement_behind.recent),
            untold_changes=_tally(quality.untold_changes),
        ),
        fills_repeated=dict(quality.fills_repeated),
    )


def _address_report(quality: AddressQuality) -> AddressQualityReport:
    used, limit = quality.weight_used, quality.weight_limit
    error_ms = quality.clock_error_ms
    return AddressQualityReport(
        address=quality.address,
        poor=poor_of_address(quality),
        weight=WeightReport(used=used, limit=limit, headroom=max(limit - used, 0)),
        limited_until=_time(quality.limited_until_ms),
        requests={outcome: _tally(tally) for outcome, tally in quality.requests.items()},
        last_failure=None if quality.last_failure is None else _failure(quality.last_failure),
        clock=ClockReport(
            offset_ms=quality.clock_offset_ms, error_ms=None if error_ms is None else round(error_ms)
        ),
        mark_prices=quality.silent_marks,
    )  # fmt: skip


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_text(at_ms)


def _spread(spread: Spread) -> SpreadReport:
    return SpreadReport(
        count=spread.size, p50_ms=spread.p50_ms, p90_ms=spread.p90_ms, p99_ms=spread.p99_ms, max_ms=spread.max_ms
    )


def _tally(tally: Tally) -> TallyReport:
    return TallyReport(total=tally.total, recent=tally.recent)


def _gap(gap: Gap) -> GapReport:
    return GapReport(from_=time_text(gap.from_ms), to=_time(gap.to_ms), reason=gap.reason)


def _failure(failure: Failure) -> FailureReport:
    return FailureReport(timestamp=time_text(failure.at_ms), reason=failure.reason)


# -- as metrics --------------------------------------------------------------------------------------------------------


def samples_of(quality: ExchangeQuality) -> Iterator[Told]:
    """Yield the metrics of all accounts and addresses; what is not known is left out."""
    for account in quality.accounts:
        yield from _account_samples(account)
    for address in quality.addresses:
        yield from _address_samples(address)


def _account_samples(quality: AccountQuality) -> Iterator[Told]:
    labels = {"account": quality.account}

    def gauge(name: str, help_text: str, value: float) -> Sample:
        return Sample(name, help_text, "gauge", value, labels)

    def counter(name: str, help_text: str, value: float) -> Sample:
        return Sample(name, help_text, "counter", value, labels)

    for name, help_text, measured in (
        ("exchange_event_lag_seconds", "From the time that a message says to its arrival.", quality.lag),
        ("exchange_stream_behind_seconds", "From a statement to the stream that told the same.", quality.stream_behind),
        (
            "exchange_statement_behind_seconds",
            "From the stream to the last statement that did not show the same.",
            quality.statement_behind,
        ),
    ):
        yield Distribution(name, help_text, measured.total, 1e3, labels)
    yield gauge("exchange_stream_up", "Whether the user stream is heard.", quality.is_heard)
    yield counter("exchange_stream_gaps_total", "Times that the user stream was not heard.", quality.gap_count.total)
    yield counter("exchange_stream_gap_seconds_total", "How long they took.", quality.gap_ms.total / 1000)
    yield counter("exchange_messages_repeated_total", "Messages that had come before.", quality.repeated.total)
    yield counter("exchange_messages_disordered_total", "Messages after a younger one.", quality.disordered.total)
    yield counter(
        "exchange_changes_untold_total", "Changes that only statements showed.",
        quality.untold_changes.total,
    )  # fmt: skip
    yield gauge("exchange_statement_interval_seconds", "How often statements are asked for.", quality.interval_seconds)
    if quality.last_statement_ms is not None:
        yield gauge(
            "exchange_last_statement_timestamp_seconds", "When the last statement was that was answered.",
            quality.last_statement_ms / 1000,
        )  # fmt: skip


def _address_samples(quality: AddressQuality) -> Iterator[Told]:
    labels: Mapping[str, str] = {"address": quality.address}

    def gauge(name: str, help_text: str, value: float) -> Sample:
        return Sample(name, help_text, "gauge", value, labels)

    yield gauge("exchange_request_weight_used", "Weight used in this minute.", quality.weight_used)
    yield gauge("exchange_request_weight_limit", "Weight that a minute has.", quality.weight_limit)
    for outcome, tally in quality.requests.items():
        yield Sample(
            "exchange_requests_total", "Requests by how they ended.", "counter", tally.total,
            {**labels, "outcome": outcome},
        )  # fmt: skip
    yield gauge("exchange_limited", "Whether the exchange takes no requests.", quality.limited_until_ms is not None)
    yield gauge("exchange_mark_prices_up", "Whether mark prices come.", quality.silent_marks is None)
    if quality.clock_offset_ms is not None and quality.clock_error_ms is not None:
        yield gauge(
            "exchange_clock_offset_seconds", "How far the local clock is ahead.", quality.clock_offset_ms / 1000
        )  # fmt: skip
        yield gauge("exchange_clock_error_seconds", "How wrong that may be.", quality.clock_error_ms / 1000)

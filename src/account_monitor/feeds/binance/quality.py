"""Quality: how good is what the exchange tells? Measured where it is heard and asked; costs the same for every message.

Nothing here decides anything. What is remembered is bounded: five minutes in slots of one, so many gaps, so many
messages, so many wallets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias, get_args

from account_monitor.ledger.events import Fill
from account_monitor.ledger.reconciliation import Statement
from account_monitor.monitor.histogram import Histogram
from account_monitor.monitor.ports import VENUE_STREAM, Recorded
from account_monitor.monitor.quality import WINDOW_SECONDS, Failure, Gap, Measured, Spread, Tally
from account_monitor.monitor.schedule import Monotonic

LAG_BUCKETS_MS = (
    5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 300_000, 900_000, 3_600_000,
)  # fmt: skip
"""From a stream next door to one that tells of an hour ago."""

UNTOLD_SECONDS = 5.0
"""How long the stream may take for what a statement shows already; by then the feed calls it deaf."""

GAPS_KEPT = 20
MESSAGES_KEPT = 1_024
"""Two sockets that overlap, and a frame that is sent again, are less apart."""

WALLETS_KEPT = 500
VALUES_KEPT = 64
"""Of each wallet: what a busy one holds within the time that a statement takes."""

Outcome: TypeAlias = Literal["answered", "refused", "limited", "unanswered"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_SLOT_SECONDS = 60.0
_SLOTS = int(WINDOW_SECONDS / _SLOT_SECONDS)


class Spreads:
    """Milliseconds: how they are distributed of late, and since the start."""

    def __init__(self, monotonic: Monotonic) -> None:
        self.total = Histogram(LAG_BUCKETS_MS)
        self._monotonic = monotonic
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)

    def observe(self, milliseconds: float) -> None:
        """Count one. Less than nothing is within the error of two clocks, and counts as nothing."""
        milliseconds = max(milliseconds, 0)
        self.total.observe(milliseconds)
        now = _slot(self._monotonic())
        if not self._slots or self._slots[-1].number != now:
            self._slots.append(_Slot(now))
        slot = self._slots[-1]
        slot.counts[bisect_left(LAG_BUCKETS_MS, milliseconds)] += 1
        slot.longest = max(slot.longest, milliseconds)

    def measured(self) -> Measured:
        """Return both, as of now."""
        return Measured(self._recent(), self.total.copy())

    def _recent(self) -> Spread:
        oldest = _slot(self._monotonic()) - _SLOTS
        slots = [slot for slot in self._slots if slot.number > oldest]
        if not slots:
            return Spread(0)
        counts = [sum(of_bucket) for of_bucket in zip(*(slot.counts for slot in slots), strict=True)]
        longest = max(slot.longest for slot in slots)
        p50, p90, p99 = (round(_quantile(counts, share, longest)) for share in (0.5, 0.9, 0.99))
        return Spread(sum(counts), p50, p90, p99, round(longest))


class _Slot:
    """What was counted in one minute."""

    __slots__ = ("counts", "longest", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.counts = [0] * (len(LAG_BUCKETS_MS) + 1)
        self.longest = 0.0


def _quantile(counts: list[int], share: float, longest: float) -> float:
    """Return what so large a share does not exceed: within its bucket as if all lay evenly, as Prometheus does."""
    rank = share * sum(counts)
    passed = 0
    for bucket, count in enumerate(counts):
        if count and passed + count >= rank:
            lower = LAG_BUCKETS_MS[bucket - 1] if bucket else 0
            upper = LAG_BUCKETS_MS[bucket] if bucket < len(LAG_BUCKETS_MS) else longest
            return min(lower + (upper - lower) * (rank - passed) / count, longest)
        passed += count
    return longest


class Tallies:
    """How often things happened: of late, and since the start."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._total: Counter[str] = Counter()
        self._monotonic = monotonic
        self._slots: deque[tuple[int, Counter[str]]] = deque(maxlen=_SLOTS)

    def add(self, name: str, count: int = 1) -> None:
        """Count so many."""
        self._total[name] += count
        now = _slot(self._monotonic())
        if not self._slots or self._slots[-1][0] != now:
            self._slots.append((now, Counter()))
        self._slots[-1][1][name] += count

    def tally(self, name: str) -> Tally:
        """Return how often it happened."""
        oldest = _slot(self._monotonic()) - _SLOTS
        return Tally(self._total[name], sum(counts[name] for number, counts in self._slots if number > oldest))


def _slot(now: float) -> int:
    return int(now // _SLOT_SECONDS)


class StreamQuality:
    """How well one account is heard. `now_ms` is the exchange's clock."""

    def __init__(self, monotonic: Monotonic, now_ms: Callable[[], int]) -> None:
        self.lag = Spreads(monotonic)
        """From the time that a message says to the moment that it came, by the exchange's clock."""
        self.skew = Skew(monotonic)
        self.last_message_ms: int | None = None
        """When the last message came."""
        self.last_statement_ms: int | None = None
        """When the last statement was that was answered."""
        self.fills_repeated: Counter[str] = Counter()
        """Fills that were told again, by the source that did."""
        self._tallies = Tallies(monotonic)
        self._now_ms = now_ms
        self._gaps: deque[Gap] = deque(maxlen=GAPS_KEPT)
        self._latest_ms = 0
        """The youngest time that a message said."""
        self._recent: deque[int] = deque(maxlen=MESSAGES_KEPT)
        self._is_recent: set[int] = set()
        """Digests of the messages that came last, and the same to look them up."""

    def heard(self, payload: bytes, event_ms: int, received_ms: int | None) -> None:
        """Note a message about an order or the account. `received_ms` None: it had to wait here before it was read."""
        self._tallies.add("messages")
        if self._is_repeated(payload):
            self._tallies.add("repeated")
            return
        if event_ms < self._latest_ms:
            self._tallies.add("disordered")
        self._latest_ms = max(self._latest_ms, event_ms)
        if received_ms is not None:
            self.last_message_ms = received_ms
            self.lag.observe(received_ms - event_ms)

    def _is_repeated(self, payload: bytes) -> bool:
        digest = hash(payload)
        if digest in self._is_recent:
            return True
        if len(self._recent) == MESSAGES_KEPT:
            self._is_recent.discard(self._recent[0])
        self._recent.append(digest)
        self._is_recent.add(digest)
        return False

    def heard_again(self, reason: str, seconds: float) -> None:
        """Note that the stream is heard again after so long."""
        now_ms = self._now_ms()
        self._gaps.append(Gap(now_ms - round(seconds * 1000), now_ms, reason))
        self._tallies.add("gaps")
        self._tallies.add("gap_ms", round(seconds * 1000))
        self._latest_ms = 0  # a socket that is new begins anew
        self.skew.restart()

    def garbled(self) -> None:
        """Note a message that could not be read."""
        self._tallies.add("unreadable")

    def note(self, recorded: Recorded) -> None:
        """Take a commit: which fills were told again, and which otherwise?"""
        for delivery in recorded.duplicates:
            if type(delivery.event) is Fill:
                self.fills_repeated[delivery.source] += 1
        for conflict in recorded.conflicts:
            if conflict.delivery.source == VENUE_STREAM:
                self._tallies.add("contradicted")

    def tally(self, name: str) -> Tally:
        """Return how often something happened: messages, repeated, disordered, unreadable, contradicted."""
        return self._tallies.tally(name)

    def gaps(self, unheard: tuple[float, str] | None) -> tuple[tuple[Gap, ...], Tally, Tally]:
        """Return the last gaps, how many there were, and how many milliseconds they took.

        `unheard`: for how many seconds one has lasted by now, and why; None while the stream is heard.
        """
        count, taken_ms = self._tallies.tally("gaps"), self._tallies.tally("gap_ms")
        if unheard is None:
            return tuple(self._gaps), count, taken_ms
        seconds, reason = unheard
        lasting_ms = round(seconds * 1000)
        lasting = Gap(self._now_ms() - lasting_ms, None, reason)
        return (
            (*self._gaps, lasting),
            Tally(count.total + 1, count.recent + 1),
            Tally(taken_ms.total + lasting_ms, taken_ms.recent + lasting_ms),
        )


class _Value(NamedTuple):
    """What the stream, or the first statement, said of a wallet, and when; by the clock that measures durations."""

    amount: Decimal
    at: float


class _Wallet:
    """What is known of a wallet."""

    __slots__ = ("ahead", "at_ms", "behind", "is_untold", "values")

    def __init__(self, amount: Decimal, at: float) -> None:
        self.values: deque[_Value] = deque([_Value(amount, at)], maxlen=VALUES_KEPT)
        """The youngest last."""
        self.at_ms = 0
        """The time that the message said which told the last of them."""
        self.ahead: _Value | None = None
        """What a statement showed first, and the stream has not told of yet; `at` is when it was answered."""
        self.is_untold = False
        """Whether that was counted as untold."""
        self.behind: tuple[float, float] | None = None
        """Since when the stream had told of what statements did not show, and for how many seconds they did not."""


class Skew:
    """Which is sooner, the stream or the statement, and by how much at least? Each is a witness against the other.

    A statement is as of some moment between the question and the answer: so the stream is behind by what passed since
    the answer, and a statement by what had passed at the question. Wallets alone are compared: every fill moves one by
    its fee, and they do not come back to what they were, as the quantity of a position does.
    """

    def __init__(self, monotonic: Monotonic) -> None:
        self.stream_behind = Spreads(monotonic)
        self.statement_behind = Spreads(monotonic)
        self._monotonic = monotonic
        self._tallies = Tallies(monotonic)
        self._wallets: dict[str, _Wallet] = {}

    @property
    def untold(self) -> Tally:
        """Changes that a statement showed, and that the stream passed over or had not told of UNTOLD_SECONDS later."""
        return self._tallies.tally("untold")

    def restart(self) -> None:
        """Compare with nothing from before now: the stream was not heard for a while, which is told elsewhere."""
        for wallet in self._wallets.values():
            self._count_untold(wallet, after_seconds=UNTOLD_SECONDS)
        self._wallets.clear()

    def told(self, statement: Statement) -> None:
        """Take what the stream says now. Its `at_ms` orders what it says of one wallet."""
        now = self._monotonic()
        for asset, amount in statement.wallets.items():
            wallet = self._wallets.get(asset)
            if wallet is None:
                self._begin(asset, amount, now)
                continue
            if wallet.ahead is not None and wallet.ahead.amount == amount:
                self.stream_behind.observe((now - wallet.ahead.at) * 1000)
                wallet.ahead = None
            if statement.at_ms >= wallet.at_ms and wallet.values[-1].amount != amount:
                wallet.values.append(_Value(amount, now))
                wallet.at_ms = statement.at_ms

    def stated(self, statement: Statement, left_at: float) -> None:
        """Take a statement that was asked for at `left_at` and is answered now."""
        now = self._monotonic()
        for asset, amount in statement.wallets.items():
            wallet = self._wallets.get(asset)
            if wallet is None:
                self._begin(asset, amount, left_at)
            else:
                self._compare(wallet, amount, left_at, now)

    def _begin(self, asset: str, amount: Decimal, at: float) -> None:
        if len(self._wallets) < WALLETS_KEPT:
            self._wallets[asset] = _Wallet(amount, at)

    def _compare(self, wallet: _Wallet, amount: Decimal, left_at: float, now: float) -> None:
        values = wallet.values
        place = next((i for i in range(len(values) - 1, -1, -1) if values[i].amount == amount), None)
        if place is None:
            self._note_ahead(wallet, amount, left_at, now)
            return
        self._note_shown(wallet, values[place].at)
        if place == len(values) - 1:
            self._count_untold(wallet)  # the stream has caught up, and has passed over what it had not told
            wallet.ahead = None
        elif values[place + 1].at < left_at:
            since = values[place + 1].at if wallet.behind is None else wallet.behind[0]
            wallet.behind = since, left_at - since

    def _note_ahead(self, wallet: _Wallet, amount: Decimal, left_at: float, now: float) -> None:
        """Note an amount that the stream has not told of, unless that may have been forgotten here."""
        if wallet.values[0].at > left_at:
            return
        if wallet.ahead is None:
            wallet.ahead, wallet.is_untold = _Value(amount, now), False
        else:
            self._count_untold(wallet, after_seconds=UNTOLD_SECONDS)

    def _note_shown(self, wallet: _Wallet, said_at: float) -> None:
        """Note that a statement shows what the stream said at a time: was an earlier one behind?"""
        if wallet.behind is not None and said_at >= wallet.behind[0]:
            self.statement_behind.observe(wallet.behind[1] * 1000)
            wallet.behind = None

    def _count_untold(self, wallet: _Wallet, *, after_seconds: float = 0.0) -> None:
        if wallet.ahead is None or wallet.is_untold:
            return
        if self._monotonic() - wallet.ahead.at >= after_seconds:
            self._tallies.add("untold")
            wallet.is_untold = True


class RequestQuality:
    """How the requests to one address end. `now_ms` is the exchange's clock."""

    def __init__(self, monotonic: Monotonic, now_ms: Callable[[], int]) -> None:
        self.last_failure: Failure | None = None
        self._tallies = Tallies(monotonic)
        self._now_ms = now_ms

    def note(self, outcome: Outcome, reason: str = "") -> None:
        """Note how a request ended that had left; `reason` where it brought nothing."""
        self._tallies.add(outcome)
        if outcome != "answered":
            self.last_failure = Failure(self._now_ms(), reason)

    def outcomes(self) -> Mapping[str, Tally]:
        """Return how often each of the outcomes was."""
        return {outcome: self._tallies.tally(outcome) for outcome in OUTCOMES}

"""Spent: what a journal recorded and does not hold any more, so that it is known when it comes again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from hashlib import sha256
from typing import Any, Literal, NamedTuple, TypeAlias

import apsw
import msgspec

from account_monitor.errors import JournalCorrupt
from account_monitor.ledger import timeline
from account_monitor.ledger.events import Event, Fill, Horizon, Marks, Place, trade_number
from account_monitor.stores.bulk import insert_rows
from account_monitor.stores.codec import decode_event
from account_monitor.stores.journal_file import SQL, read_base

_ID_BYTES = 16
"""Of a SHA-256: among a billion ids two are alike once in 10^20 journals."""

SKEW_MS = 60_000
"""How far the clock of whoever tells again of a trade may be ahead of the clock of who told of it first."""

Verdict: TypeAlias = Literal["spent"] | str | None
SPENT: Literal["spent"] = "spent"


class Floor(NamedTuple):
    """Of one position: numbered fills up to `last_number` are final, and those that are gone happened up to `at_ms`."""

    last_number: int = 0
    at_ms: int = 0
    spent_number: int = 0
    """The highest number of a fill that is remembered by its id."""


class _Position(msgspec.Struct):
    """What of a position in a state says which fills are final."""

    floor: timeline.Floor | None
    adjusted: list[timeline.Adjusted]

    @property
    def last_number(self) -> int:
        """The number up to which nothing counts any more, whatever correction is lifted."""
        floor = self.adjusted[0].floor if self.adjusted else self.floor
        return -1 if floor is None else floor.last_number


class _State(msgspec.Struct):
    """A ledger's state, for those who ask what is final in it."""

    timelines: dict[str, _Position]


_states = msgspec.json.Decoder(_State)


class Forgotten(NamedTuple):
    """An entry that is to go: what has to be remembered of it."""

    seq: int
    event_id: str
    kind: str
    at_ms: int
    position_key: str | None
    trade_number: int | None
    hash: bytes


class Spent:
    """Tells what came before from what is new, among what the journal does not hold."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._has_ids = read_base(connection).seq > 0
        self._floors: dict[str, dict[str, Floor]] = {}
        """By symbol and position."""
        self._highest: dict[str, int] = {}
        """By symbol: every numbered fill after it is new."""
        self._drawn: dict[str, list[Place]] = {}
        """By position, the places of horizons that the ledger may not have taken; of those by time only the last."""
        for key, *floor in connection.execute(SQL["floors"]):
            self._raise(key, Floor._make(floor))
        rows: Any = connection.execute(SQL["horizons"])
        for seq, body in rows:
            self.note(_horizon(seq, body))

    def note(self, horizon: Horizon) -> None:
        """Take note of what a horizon that was recorded would make final."""
        for place in horizon.places:
            if place.trade_id is None:
                continue
            others = self._drawn.get(place.key, ())
            if place.is_by_time:
                kept = [each for each in others if not each.is_by_time or _moment(each) > _moment(place)]
            else:
                kept = [each for each in others if each.trade_id != place.trade_id]
            self._drawn[place.key] = [*kept, place]

    def confirm(self, state: bytes) -> None:
        """Take over what is final in a state of the ledger: it takes no place before which something late came."""
        if not any(_number(place) > self._floor(place).last_number for each in self._drawn.values() for place in each):
            return
        try:
            positions = _states.decode(state).timelines
        except msgspec.DecodeError:
            return  # of another version: nothing is known to be final
        for key, position in positions.items():
            taken = [place for place in self._drawn.get(key, ()) if 0 < _number(place) <= position.last_number]
            floors = (Floor(_number(place), place.at_ms) for place in taken)
            if taken:
                self._store(key, reduce(_higher, floors))
                self._drawn[key] = [place for place in self._drawn[key] if place not in taken]

    def is_final(self, fill: Fill) -> bool:
        """Whether no record may change what is known of an execution, or make it this, any more.

        Where a horizon names the position, although the ledger may not have taken its place: it is old in any case.
        """
        number = trade_number(fill.trade_id)
        if number is not None and number <= self._floor(fill).last_number:
            return True
        return any(
            _moment(fill) <= _moment(place) if place.is_by_time else number is not None and number <= _number(place)
            for place in self._drawn.get(fill.key, ())
        )

    def _floor(self, of: Fill | Place) -> Floor:
        return self._floors.get(of.symbol, {}).get(of.key, Floor())

    def may_know(self, event: Event) -> bool:
        """Whether an event may have been recorded, or contradict what was; most are above every doubt."""
        if type(event) is Fill and (number := trade_number(event.trade_id)) is not None:
            return number <= self._highest.get(event.symbol, 0)
        return self._has_ids and type(event) is not Marks

    def verdicts(self, events: Sequence[Event]) -> dict[str, Verdict]:
        """Return by identity what is known of events that the journal does not hold: spent, or why it is refused."""
        asked = [event for event in events if self.may_know(event)]
        known = self._known({identity_of(event) for event in asked}) if self._has_ids else set()
        told = {identity_of(event): self._verdict(event, known) for event in asked}
        return {identity: verdict for identity, verdict in told.items() if verdict is not None}

    def _verdict(self, event: Event, known: Collection[str]) -> Verdict:
        if identity_of(event) in known:
            return SPENT
        number = trade_number(event.trade_id) if type(event) is Fill else None
        if type(event) is not Fill or number is None:
            return None
        floor = self._floor(event)
        if number <= floor.last_number:
            if event.at_ms <= floor.at_ms + SKEW_MS:
                return SPENT if self._has_ids else None
            return (
                f"{event.identity} is final: trades up to {floor.last_number} happened up to {floor.at_ms},"
                f" this one at {event.at_ms}"
            )
        others = (other for key, other in self._floors.get(event.symbol, {}).items() if key != event.key)
        if self._has_ids and any(number <= o.last_number and event.at_ms <= o.at_ms + SKEW_MS for o in others):
            return f"{event.identity} may be recorded under another position than {event.key}, and is not kept any more"
        return None

    def _known(self, identities: Collection[str]) -> set[str]:
        """Return which identities are remembered."""
        by_id = {_id(identity).hex(): identity for identity in identities}
        rows: Any = self._connection.execute(SQL["find_spent"], (msgspec.json.encode(list(by_id)).decode(),))
        return {by_id[row[0]] for row in rows}

    def take(self, rows: Iterable[Forgotten]) -> None:
        """Remember what is about to be deleted, in the same transaction."""
        ids: list[tuple[bytes]] = []
        raised: dict[str, Floor] = {}
        for row in rows:
            identity = row.event_id
            if row.kind in ("fill", "void"):
                assert row.position_key is not None  # every fill has one
                assert row.trade_number is not None
                identity = identity.partition(" ")[0]
                key, number = row.position_key, row.trade_number
                last_number = self._floors.get(_symbol(key), {}).get(key, Floor()).last_number
                is_final = 0 < number <= last_number
                floor = Floor(0, row.at_ms) if is_final else Floor(0, 0, max(number, 0))
                raised[key] = _higher(raised.get(key, Floor()), floor)
                if is_final:
                    continue
            if row.kind != "marks":  # this program's own, by the second: an older price changes nothing
                ids.append((_id(identity),))
        insert_rows(self._connection, SQL["spend"], ids)
        for key, floor in raised.items():
            self._store(key, floor)
        self._has_ids = True

    def _store(self, key: str, floor: Floor) -> None:
        self._connection.execute(SQL["raise_floor"], (key, *floor))
        self._raise(key, floor)

    def _raise(self, key: str, floor: Floor) -> None:
        floors = self._floors.setdefault(_symbol(key), {})
        floors[key] = _higher(floors.get(key, Floor()), floor)
        highest = max(floor.last_number, floor.spent_number)
        self._highest[_symbol(key)] = max(self._highest.get(_symbol(key), 0), highest)


def identity_of(event: Event) -> str:
    """Return what an event is known by, whatever was revised of it."""
    return event.identity if type(event) is Fill else event.event_id


def _id(identity: str) -> bytes:
    return sha256(identity.encode("utf-8", "surrogatepass")).digest()[:_ID_BYTES]


def _symbol(key: str) -> str:
    return key.removesuffix(":LONG").removesuffix(":SHORT")


def _higher(one: Floor, other: Floor) -> Floor:
    return Floor._make(map(max, one, other))


def _moment(of: Fill | Place) -> tuple[int, int, str]:
    """Return the place of a fill in a position that is ordered by time."""
    trade_id = of.trade_id or ""
    return of.at_ms, len(trade_id), trade_id


def _number(place: Place) -> int:
    """Return up to which number the fills before a place are final, 0 where their order is that of time."""
    return 0 if place.trade_id is None or place.is_by_time else trade_number(place.trade_id) or 0


def _horizon(seq: int, body: str) -> Horizon:
    event = decode_event(seq, "horizon", body)
    if not isinstance(event, Horizon):
        raise JournalCorrupt(f"entry {seq} is no horizon")
    return event

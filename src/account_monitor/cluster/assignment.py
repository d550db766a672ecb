"""Assignment: which member should hold which account?

Pure, and the same for whoever asks: members that see one board come to one plan, and none of them has to lead. Where
they see different ones for a moment, the store lets one of two have an account.
"""

from __future__ import annotations

import heapq
from bisect import bisect
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from account_monitor.cluster.members import Board, Member

OVERLOAD = 0.25
"""How far beyond its share a member may take what it is warm for: shown at once now, moved at leisure later."""

POINTS = 128
"""Places of each member on the ring: shares of followers differ by a tenth or so."""


class Move(NamedTuple):
    """An account that its holder should hand over, and to whom."""

    account: str
    source: str
    target: str


class Plan(NamedTuple):
    """What should happen next, by session."""

    acquire: dict[str, list[str]]
    """Accounts that nobody holds, by who should take them."""
    moves: list[Move]
    """Accounts that are held, and should be elsewhere; the first are the most urgent."""

    def moves_of(self, session: str) -> list[Move]:
        """Return what a session should hand over."""
        return [move for move in self.moves if move.source == session]


class _Loads:
    """How many accounts each member has in a plan, and who may take another one."""

    def __init__(self, members: Sequence[Member], held: Mapping[str, list[str]], count: int) -> None:
        self.of = {member.session: len(held.get(member.session, ())) for member in members}
        share, rest = divmod(count, len(members))
        # Who holds more keeps more: fewer accounts move.
        by_load = sorted(self.of, key=lambda session: (-self.of[session], session))
        self.share = {session: share + (place < rest) for place, session in enumerate(by_load)}
        self._heap = [(load - self.share[session], load, session) for session, load in self.of.items()]
        heapq.heapify(self._heap)

    def room(self, session: str) -> int:
        """Return how many more accounts a member should have; negative: how many fewer."""
        return self.share[session] - self.of[session]

    def may_overload(self, session: str) -> bool:
        share = self.share[session]
        return self.of[session] < share + max(1, int(share * OVERLOAD))

    def emptiest(self, unable: Collection[str] = ()) -> str | None:
        """Return the member with the most room, of those that are able; None: none is."""
        if unable:
            able = [session for session in self.of if session not in unable]
            return max(able, key=lambda each: (self.room(each), each)) if able else None
        while True:
            _, load, session = self._heap[0]
            if load == self.of[session]:
                return session
            heapq.heapreplace(self._heap, (self.of[session] - self.share[session], self.of[session], session))

    def add(self, session: str) -> None:
        self.of[session] += 1

    def remove(self, session: str) -> None:
        self.of[session] -= 1
        heapq.heappush(self._heap, (self.of[session] - self.share[session], self.of[session], session))


def assign(
    accounts: Collection[str],
    board: Board,
    *,
    moves_at_once: int,
    ignored_heirs: Collection[str] = (),
    uncounted: Collection[str] = (),
) -> Plan:
    """Return what should happen so that every account is held, and all members hold equally many, give or take one.

    `ignored_heirs`: accounts that were given up for a member which did not take them. `uncounted`: those of `accounts`
    that are somebody's too, and are no part of anybody's share: they move only when their holder leaves.
    """
    members = sorted(
        (member for member in board.members.values() if member.is_alive and not member.card.is_draining),
        key=lambda member: member.session,
    )
    if not members:
        return Plan({}, [])
    counted = [account for account in accounts if account not in uncounted]
    held, free, leaving = _sorted_out(counted, board)
    loads = _Loads(members, held, len(counted))
    able = _Able(members)
    acquire: dict[str, list[str]] = defaultdict(list)
    for account, session in _heirs(free, board, loads, ignored_heirs):
        acquire[session].append(account)
        loads.add(session)
    taken = {account for found in acquire.values() for account in found}
    for account, session in _placed((a for a in free if a not in taken), board, loads, able, members):
        acquire[session].append(account)
    moves = list(_moves(leaving, held, loads, able, moves_at_once))
    _, free, leaving = _sorted_out((account for account in accounts if account in uncounted), board)
    heirs = dict(_heirs(free, board, loads, ignored_heirs))
    for account in free:
        if (target := heirs.get(account) or _target(account, loads, able)) is not None:
            acquire[target].append(account)
    for account, source in leaving:
        if (target := _target(account, loads, able)) is not None:
            moves.append(Move(account, source, target))
    return Plan(dict(acquire), moves)


def _sorted_out(accounts: Iterable[str], board: Board) -> tuple[dict[str, list[str]], list[str], list[tuple[str, str]]]:
    """Return accounts by who holds and keeps them, those that nobody holds, and those whose holders leave."""
    held: dict[str, list[str]] = defaultdict(list)
    free: list[str] = []
    leaving: list[tuple[str, str]] = []
    for account in sorted(accounts):
        holder = board.holder(account)
        if holder is None:
            free.append(account)
        elif holder.card.is_draining:
            leaving.append((account, holder.session))
        else:
            held[holder.session].append(account)
    return held, free, leaving


class _Able:
    """By account, who is warm for it, and who could not take it up."""

    def __init__(self, members: Iterable[Member]) -> None:
        warm: dict[str, list[str]] = defaultdict(list)
        unable: dict[str, set[str]] = defaultdict(set)
        for member in members:
            for account in member.card.unable:
                unable[account].add(member.session)
            for account in member.card.warm - member.card.unable:
                warm[account].append(member.session)
        self.warm: Mapping[str, Sequence[str]] = dict(warm)
        self.unable: Mapping[str, Collection[str]] = dict(unable)


def _heirs(free: Iterable[str], board: Board, loads: _Loads, ignored: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what was given up for a member that is there to take it."""
    for account in free:
        holding = board.holdings.get(account)
        if holding is not None and holding.heir in loads.of and account not in ignored:
            assert holding.heir is not None  # it is among the members
            yield account, holding.heir


def _placed(
    free: Iterable[str], board: Board, loads: _Loads, able: _Able, members: Sequence[Member]
) -> Iterator[tuple[str, str]]:
    """Yield who takes what nobody holds: who held it before or is warm for it, if that is not too much, else anybody.

    Those with the fewest that are warm come first: the others have more to choose from. What nobody is able to take
    up now is taken by nobody.
    """
    by_name = {member.name: member.session for member in members}
    choices = []
    for account in free:
        sessions, unable = list(able.warm.get(account, ())), able.unable.get(account, ())
        holding = board.holdings.get(account)
        before = None if holding is None else by_name.get(holding.member)
        if before is not None and before not in sessions and before not in unable:
            sessions.append(before)  # its own journal of the account is as good as a follower's
        choices.append((len(sessions) or len(members), account, sessions))
    choices.sort()
    for _, account, sessions in choices:
        ready = [session for session in sessions if loads.may_overload(session)]
        session = _roomiest(ready, loads) if ready else loads.emptiest(able.unable.get(account, ()))
        if session is not None:
            loads.add(session)
            yield account, session


def _roomiest(sessions: Iterable[str], loads: _Loads) -> str:
    return max(sessions, key=lambda each: (loads.room(each), each))


def _moves(
    leaving: list[tuple[str, str]], held: Mapping[str, list[str]], loads: _Loads, able: _Able, limit: int
) -> Iterator[Move]:
    """Yield what should be handed over, so many at most: what leaves, then what is too much somewhere."""
    for account, source in leaving[:limit]:
        if (target := _target(account, loads, able)) is not None:
            loads.add(target)
            yield Move(account, source, target)
    limit -= len(leaving[:limit])
    surplus = sorted((loads.room(session), session) for session in held if loads.room(session) < 0)
    for room, source in surplus:
        if limit <= 0:
            return
        for account in _movable(held[source], loads, able)[: min(-room, limit)]:
            target = _target(account, loads, able)
            if target is None or loads.room(target) <= 0:
                continue  # what was given up before fills it
            loads.remove(source)
            loads.add(target)
            limit -= 1
            yield Move(account, source, target)


def _movable(accounts: Iterable[str], loads: _Loads, able: _Able) -> list[str]:
    """Return accounts in the order in which to hand them over: first those for which somebody with room is warm."""
    return sorted(accounts, key=lambda a: (not any(loads.room(s) > 0 for s in able.warm.get(a, ())), a))


def _target(account: str, loads: _Loads, able: _Able) -> str | None:
    ready = [session for session in able.warm.get(account, ()) if loads.room(session) > 0]
    return _roomiest(ready, loads) if ready else loads.emptiest(able.unable.get(account, ()))


# -- followers ---------------------------------------------------------------------------------------------------------


def followers(accounts: Iterable[str], members: Iterable[Member], count: int) -> dict[str, list[str]]:
    """Return by account the sessions that should follow it, the first ones on the way around a ring.

    Whoever comes or goes changes that for its own share alone. The ring knows members by name: a member that starts
    again follows what it followed before. A holder may be among them: then it has one follower less.
    """
    by_name = {member.name: member.session for member in members if member.is_alive and not member.card.is_draining}
    count = min(count, len(by_name))
    ring = sorted((_place(f"{name} {number}"), name) for name in by_name for number in range(POINTS))
    places = [place for place, _ in ring]
    found: dict[str, list[str]] = {}
    for account in accounts:
        names: dict[str, None] = {}
        at = bisect(places, _place(account))
        while len(names) < count:
            names[ring[at % len(ring)][1]] = None
            at += 1
        found[account] = [by_name[name] for name in names]
    return found


def followed_by(session: str, accounts: Iterable[str], board: Board) -> set[str]:
    """Return the accounts that a session should follow: each has one follower, where there is more than one member.

    That is the first on its way around the ring that does not hold it, and where nobody does now, did not hold it
    last: an account that is on its way to its follower stays with it.
    """
    followed = set()
    for account, sessions in followers(accounts, board.members.values(), 2).items():
        holding = board.holdings.get(account)
        holder = "" if holding is None else holding.member
        first = next((each for each in sessions if board.members[each].name != holder), None)
        if first == session:
            followed.add(account)
    return followed


def _place(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8).digest()

"""Attendance: which members went without a word, and does another process bear our name?

Pure: what a member sees on the board, look after look. A session that ends before its time was ended by its member,
which is a stop; one that ends with its time was renewed no more, and its member is lost.
"""

from __future__ import annotations

from typing import NamedTuple

from account_monitor.cluster.leases import Terms
from account_monitor.cluster.members import Board, Member

NAMED_SECONDS = 600.0
"""How long a member that was lost is named, unless it comes back: long enough for people to look."""


class News(NamedTuple):
    """What a look has shown that the one before had not."""

    lost: list[Member]
    back: list[str]
    """The names of members that were lost."""
    namesakes: list[Member]


class _Seen(NamedTuple):
    """A live session, and when it ends by the clock of who looked if it is not renewed."""

    member: Member
    ends_at: float


class Attendance:
    """Who was there, for one of the members."""

    def __init__(self, name: str, terms: Terms) -> None:
        """`name` is that of the member that looks."""
        self._name = name
        self._terms = terms
        self._present: dict[str, _Seen] = {}
        self._lost: dict[str, tuple[Member, float]] = {}
        """By name, and since when."""
        self._namesakes: dict[str, tuple[Member, float]] = {}
        """By session, and since when."""
        self._told: set[str] = set()

    def look(self, board: Board, session: str, now: float) -> News:
        """Return what changed, as seen by a session at a moment by a clock that only runs forward."""
        alive = {member.session: member for member in board.members.values() if member.is_alive}
        names = {member.name for member in alive.values()}
        lost = [
            seen.member
            for seen in self._present.values()
            if seen.member.session not in alive and self._is_lost(seen, now) and seen.member.name not in names
        ]
        back = sorted(self._lost.keys() & names)
        for name in back:
            del self._lost[name]
        self._lost |= {member.name: (member._replace(is_alive=False), now) for member in lost}
        others = {each: member for each, member in alive.items() if member.name != self._name}
        self._present = {each: _Seen(member, now + member.seconds_left) for each, member in others.items()}
        return News(lost, back, self._new_namesakes(alive, session, now))

    def _is_lost(self, seen: _Seen, now: float) -> bool:
        """Whether a session that is not alive has ended by itself; others may have seen its end a little earlier."""
        return not seen.member.card.is_draining and now > seen.ends_at - self._terms.beat_seconds / 2

    def _new_namesakes(self, alive: dict[str, Member], session: str, now: float) -> list[Member]:
        self._namesakes = {
            each: (member, self._namesakes.get(each, (member, now))[1])
            for each, member in alive.items()
            if member.name == self._name and each != session
        }
        new = [member for member in self.namesakes(now) if member.session not in self._told]
        self._told = {member.session for member in self.namesakes(now)}
        return new

    def namesakes(self, now: float) -> list[Member]:
        """Return the live members of the same name: those that outlast their ttl, as a run that died does not."""
        ttl = self._terms.ttl_seconds
        return [member for member, since in self._namesakes.values() if now - since > ttl]

    def lost(self, now: float) -> list[Member]:
        """Return the members that were lost not long ago, and are not back."""
        return [member for member, since in self._lost.values() if now - since < NAMED_SECONDS]

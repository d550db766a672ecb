"""Members: who is there, what are they ready for, and who holds what?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec


class Card(msgspec.Struct, frozen=True):
    """What a member says of itself."""

    warm: frozenset[str] = frozenset()
    """Accounts whose replicated journals it follows, so that it can take them over at once."""
    unable: frozenset[str] = frozenset()
    """Accounts that it could not take up a moment ago: others should try."""
    is_draining: bool = False
    """It is about to leave: it takes nothing, and hands over what it has."""
    address: str = ""
    """Where clients reach it."""


class Member(NamedTuple):
    """A session of a member, as the store knows it."""

    session: str
    name: str
    card: Card
    is_alive: bool
    seconds_left: float = 0.0
    """After which time the session ends if it is not renewed."""


class Holding(NamedTuple):
    """What the store has of the lease of an account."""

    epoch: int
    """The last that was minted, 0: none."""
    session: str | None
    """Who has it; nobody where that session is not alive."""
    member: str = ""
    """The name of who had it last: it may come again under another session."""
    heir: str | None = None
    """The session that it was given up for."""


class Board(NamedTuple):
    """Who is there and who holds what, at about one moment."""

    members: Mapping[str, Member]
    """By session."""
    holdings: Mapping[str, Holding]
    """By account. An account that was never held is not here."""
    next_end_seconds: float | None = None
    """After which time the next session ends that is not renewed; None: there is none."""

    def holder(self, account: str) -> Member | None:
        """Return who holds an account, None for nobody."""
        holding = self.holdings.get(account)
        if holding is None or holding.session is None:
            return None
        member = self.members.get(holding.session)
        return member if member is not None and member.is_alive else None


def encode_card(card: Card) -> bytes:
    """Return a card as it lies in a store."""
    return _encode(card)


def decode_card(text: bytes | str) -> Card:
    """Return the card that a store has; one of a younger version as far as it is known here."""
    return _decode(text)


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Card).decode

"""Access: who asks, and what may they see and do? Every door asks here before it answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias

import structlog

from account_monitor.api.flood import Attempts, Pace
from account_monitor.api.problems import FORBIDDEN, TOO_MANY_REQUESTS, UNAUTHENTICATED, Refused
from account_monitor.tokens import LOCAL, Right, Token, TokenSet

Reason: TypeAlias = Literal["missing", "unknown", "expired", "revoked", "forbidden", "flood", "rate"]
"""Why somebody was refused, as the metric says it."""

REASONS: tuple[Reason, ...] = ("missing", "unknown", "expired", "revoked", "forbidden", "flood", "rate")

MAX_FAILURES = 30
"""Wrong tokens from one address in a minute; after that it is told to wait. Right ones from there are still let in:
behind an address may be a whole desk."""

MAX_GREETED = 200
"""Addresses of one token that are told of in one run; that others are not told of any more is told once. A share for
each token: who holds one cannot use up what tells of another that was stolen.
"""

MAX_ORIGINS = 1_000
"""Origins that refusals are counted by, until they are taken."""

_CHALLENGE = ((b"www-authenticate", b'Bearer realm="account-monitor"'),)
_INVALID = ((b"www-authenticate", b'Bearer realm="account-monitor", error="invalid_token"'),)
_HOW = "expected authorization: Bearer <token>, as header or metadata; account-monitor token create makes one"

log = structlog.get_logger()


class Caller(NamedTuple):
    """Who asks: by the name of their token, which is public and journaled; `accounts` None is all of them.

    `token_id` is empty where there are no tokens.
    """

    name: str
    right: Right
    accounts: frozenset[str] | None
    token_id: str = ""

    def sees(self, account: str) -> bool:
        """Whether they may know of an account at all."""
        return self.accounts is None or account in self.accounts

    def require(self, right: Right, account: str | None = None) -> None:
        """Raises: Refused where they may not do that, with this account or at all."""
        if right == "operate" and self.right != "operate":
            raise Refused(FORBIDDEN, f"token {self.name!r} may read only; expected one made with --scope operate")
        if account is not None and not self.sees(account):
            raise Refused(FORBIDDEN, f"token {self.name!r} is not for account {account[:60]!r}")

    def require_all(self) -> None:
        """Raises: Refused where they may see some accounts only."""
        if self.accounts is not None:
            raise Refused(FORBIDDEN, f"token {self.name!r} is for some accounts only; here all are shown")


EVERYONE = Caller(LOCAL, "operate", None)
"""Who asks where there are no tokens: then only this machine can."""

NOBODY = Caller("", "read", frozenset())
"""Who shows no token where there are some: sees no account."""


class Access(Protocol):
    """Tells who asks."""

    def caller(self, token: str | None, address: str) -> Caller:
        """Return whose token it is. `address` is where the request comes from; None: no token was given.

        Raises: Refused for none, or one that is unknown, expired or revoked, or too many of those from an address, or
        more requests than a token may make.
        """
        ...

    def visitor(self, token: str | None, address: str) -> Caller:
        """Return whose token it is, `NOBODY` for none that is valid: for what everyone may ask, and not all be told."""
        ...

    def is_valid(self, caller: Caller) -> bool:
        """Whether who was let in would still be let in with the same rights. A stream is to be closed when not."""
        ...

    async def ended(self, caller: Caller) -> None:
        """Return when `is_valid` no longer holds, within a second."""
        ...

    def note_forbidden(self, caller: Caller) -> None:
        """Count that a caller wanted what they may not."""
        ...


class OpenAccess:
    """Without tokens everyone on this machine may do everything."""

    def caller(self, token: str | None, address: str) -> Caller:
        """Return everyone."""
        return EVERYONE

    def visitor(self, token: str | None, address: str) -> Caller:
        """Return everyone."""
        return EVERYONE

    def is_valid(self, caller: Caller) -> bool:
        """Return True: nothing ends."""
        return True

    async def ended(self, caller: Caller) -> None:
        """Never return."""
        await asyncio.Event().wait()

    def note_forbidden(self, caller: Caller) -> None:
        """Count nothing: nobody is refused."""


class Refusals(NamedTuple):
    """Attempts that were refused since they were taken last: how often by reason, and by address, the most first.

    `names` are those of the revoked and expired tokens that were shown, with how often, the most first.
    """

    reasons: dict[Reason, int]
    addresses: list[tuple[str, int]]
    names: list[tuple[str, int]]


class TokenAccess:
    """Lets in who shows a valid token, and knows who came and who was refused."""

    def __init__(
        self,
        tokens: TokenSet,
        *,
        clock: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        rate_per_second: float | None = None,
        on_first_use: Callable[[Token, str | None], None] = lambda token, address: None,
    ) -> None:
        """`clock` is in milliseconds since 1970-01-01 UTC. A token may ask `rate_per_second` from each address.

        `on_first_use` is called when a token is shown from an address for the first time in this run; with None, once,
        when it has come from so many that it is not called for this token any more.
        """
        self.refused: Counter[Reason] = Counter(dict.fromkeys(REASONS, 0))
        """How often by reason, since the start."""
        self._tokens = tokens
        self._clock = clock
        self._pace = None if rate_per_second is None else Pace(rate_per_second, monotonic)
        self._attempts = Attempts(MAX_FAILURES, monotonic)
        self._on_first_use = on_first_use
        self._greeted: dict[str, set[str]] = {}
        self._recent: Counter[Reason] = Counter()
        self._recent_addresses: Counter[str] = Counter()
        self._recent_names: Counter[str] = Counter()
        self._ends: dict[Caller, set[asyncio.Event]] = {}

    def caller(self, token: str | None, address: str) -> Caller:
        """Return whose token it is. Raises: Refused."""
        if token is None:
            raise self._refuse("missing", address, Refused(UNAUTHENTICATED, f"no token: {_HOW}", headers=_CHALLENGE))
        known = self._tokens.recognize(token)
        state = "unknown" if known is None else known.state(self._clock())
        if known is None or state != "valid":
            raise self._fail(known, state, address)
        if self._pace is not None and (wait_seconds := self._pace.wait(known.id, address)):
            told = f"token {known.name!r} asks more than {self._pace.per_second:g} times a second from {address}"
            raise self._refuse("rate", address, Refused(TOO_MANY_REQUESTS, told, headers=_retry(wait_seconds)))
        if address not in self._greeted.get(known.id, ()):
            self._greet(known, address)
        return _caller(known)

    def visitor(self, token: str | None, address: str) -> Caller:
        """Return whose token it is, `NOBODY` for none that is valid. A wrong one counts as wherever it is shown."""
        if token is None:
            return NOBODY
        try:
            return self.caller(token, address)
        except Refused:
            return NOBODY

    def is_valid(self, caller: Caller) -> bool:
        """Whether the token is still there, neither revoked nor expired nor changed."""
        known = self._tokens.get(caller.token_id)
        return known is not None and known.state(self._clock()) == "valid" and _caller(known) == caller

    async def ended(self, caller: Caller) -> None:
        """Return when the token of a caller is no longer valid: `look` sees that."""
        event = asyncio.Event()
        waiting = self._ends.setdefault(caller, set())
        waiting.add(event)
        try:
            if self.is_valid(caller):
                await event.wait()
        finally:
            waiting.discard(event)
            if not waiting and self._ends.get(caller) is waiting:
                del self._ends[caller]

    def note_forbidden(self, caller: Caller) -> None:
        """Count that a caller wanted what they may not."""
        self._count("forbidden", f"token {caller.name}")

    # -- what the keeper of the tokens calls -------------------------------------------------------------------------

    def take(self, tokens: TokenSet) -> None:
        """Know these tokens from now on, and no others."""
        self._tokens = tokens
        for gone in [each for each in self._greeted if tokens.get(each) is None]:
            del self._greeted[gone]
        self.look()

    def look(self) -> None:
        """End what has been let in by tokens that are no longer valid. Costs nothing while no stream is open."""
        for caller, waiting in list(self._ends.items()):
            if not self.is_valid(caller):
                for event in waiting:
                    event.set()

    def take_refusals(self) -> Refusals:
        """Return what was refused since this was called last."""
        taken = Refusals(dict(self._recent), self._recent_addresses.most_common(), self._recent_names.most_common())
        self._recent.clear()
        self._recent_addresses.clear()
        self._recent_names.clear()
        return taken

    # -- how it is refused -------------------------------------------------------------------------------------------

    def _fail(self, token: Token | None, state: str, address: str) -> Refused:
        if token is not None:
            self._recent_names[token.name] += 1  # also in a flood: who lost it has to know that somebody tries it
        wait_seconds = self._attempts.fail(address)
        if wait_seconds:
            told = f"more than {MAX_FAILURES} wrong tokens in a minute from {address}"
            return self._refuse("flood", address, Refused(TOO_MANY_REQUESTS, told, headers=_retry(wait_seconds)))
        if token is None:
            refusal = Refused(UNAUTHENTICATED, f"the token is not known here: {_HOW}", headers=_INVALID)
            return self._refuse("unknown", address, refusal)
        told = f"token {token.name!r} is {'revoked' if state == 'revoked' else 'expired'}: {_HOW}"
        reason: Reason = "revoked" if state == "revoked" else "expired"
        return self._refuse(reason, address, Refused(UNAUTHENTICATED, told, headers=_INVALID))

    def _refuse(self, reason: Reason, address: str, refusal: Refused) -> Refused:
        self._count(reason, address)
        return refusal

    def _count(self, reason: Reason, origin: str) -> None:
        self.refused[reason] += 1
        self._recent[reason] += 1
        if origin in self._recent_addresses or len(self._recent_addresses) < MAX_ORIGINS:
            self._recent_addresses[origin] += 1

    def _greet(self, token: Token, address: str) -> None:
        greeted = self._greeted.setdefault(token.id, set())
        if len(greeted) > MAX_GREETED:
            return
        is_told = len(greeted) < MAX_GREETED
        greeted.add(address)
        self._on_first_use(token, address if is_told else None)
        if is_told:
            log.info("caller_first_seen", caller=token.name, address=address)
        else:
            log.warning("callers_no_longer_noted", caller=token.name, addresses=MAX_GREETED)


def _caller(token: Token) -> Caller:
    return Caller(token.name, token.right, token.accounts, token.id)


def _retry(seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", str(max(1, -int(-seconds // 1))).encode()),)

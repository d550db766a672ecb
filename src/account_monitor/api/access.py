"""Access: who asks, and what may they see and do? Every door asks here before it answers."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

from account_monitor.api.problems import FORBIDDEN, Refused

Right: TypeAlias = Literal["read", "operate"]
"""`operate` changes things, and includes `read`."""


class Caller(NamedTuple):
    """Who asks: by the name of their token, which is public and journaled; `accounts` None is all of them."""

    name: str
    right: Right
    accounts: frozenset[str] | None

    def sees(self, account: str) -> bool:
        """Whether they may know of an account at all."""
        return self.accounts is None or account in self.accounts

    def require(self, right: Right, account: str | None = None) -> None:
        """Raises: Refused where they may not do that, with this account or at all."""
        if right == "operate" and self.right != "operate":
            raise Refused(FORBIDDEN, f"token {self.name!r} may read only; expected one made with --scope operate")
        if account is not None and not self.sees(account):
            raise Refused(FORBIDDEN, f"token {self.name!r} is not for account {account!r}")


EVERYONE = Caller("local", "operate", None)
"""Who asks where there are no tokens: then only this machine can."""


class Access(Protocol):
    """Tells who asks."""

    def caller(self, token: str | None, address: str) -> Caller:
        """Return whose token it is. `address` is where the request comes from; None: no token was given.

        Raises: Refused for none, or one that is unknown, expired or revoked, or too many of those from an address.
        """
        ...


class OpenAccess:
    """Without tokens everyone on this machine may do everything."""

    def caller(self, token: str | None, address: str) -> Caller:
        """Return everyone."""
        return EVERYONE

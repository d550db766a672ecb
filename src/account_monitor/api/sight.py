"""Sight: the desk as a caller may see it. What is not theirs is not there, so that no answer can forget to ask."""

from __future__ import annotations

from account_monitor.api.access import Caller
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.quality import ExchangeQuality


def desk_seen_by(caller: Caller, desk: Desk) -> Desk:
    """Return what a caller may see of the desk: all of it, or the accounts of their token."""
    return desk if caller.accounts is None else _SeenDesk(desk, caller)


def check_seen_by(caller: Caller, check: str) -> str:
    """Return the name of a check, such as `journal:main`, as a caller may read it: `journal`, of an account that is not
    theirs.
    """
    subject, _, account = check.partition(":")
    return check if not account or caller.sees(account) else subject


class _SeenDesk(Desk):
    """The accounts of one caller. It shares with the desk what it does not leave out, and is made for one request."""

    def __init__(self, desk: Desk, caller: Caller) -> None:
        self.__dict__.update(vars(desk))
        self._caller = caller
        whole = desk.exchange_quality
        self.exchange_quality = lambda: _quality_seen_by(caller, whole())

    @property
    def accounts(self) -> list[str]:
        """The configured accounts that are theirs."""
        return [account for account in super().accounts if self._caller.sees(account)]

    def monitor(self, account: str) -> Monitor | None:
        """Return the monitor of an account that is theirs."""
        return super().monitor(account) if self._caller.sees(account) else None

    def monitors(self) -> list[Monitor]:
        """Return the monitors that are theirs."""
        return [monitor for monitor in super().monitors() if self._caller.sees(monitor.name)]

    @property
    def unready(self) -> str | None:
        """What is missing, by name only: the reason may tell of accounts that are not theirs, whose names it hides."""
        missing = self.missing
        return None if missing is None else f"waits for {check_seen_by(self._caller, missing)}"


def _quality_seen_by(caller: Caller, quality: ExchangeQuality) -> ExchangeQuality:
    accounts = [each for each in quality.accounts if caller.sees(each.account)]
    asked = {each.address for each in accounts}
    return quality._replace(accounts=accounts, addresses=[a for a in quality.addresses if a.address in asked])

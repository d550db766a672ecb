"""Accounts: which one does a request mean, and can it be shown?"""

from __future__ import annotations

from account_monitor.api.problems import (
    FOLDING,
    HELD_ELSEWHERE,
    UNKNOWN_ACCOUNT,
    UNKNOWN_SYMBOL,
    Refused,
    bad_parameter,
)
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.roll import RollAccount


def account_meant(desk: Desk, name: str | None) -> str:
    """Return the account of this name, or the only one. Raises: Refused."""
    names = desk.accounts
    configured = f"configured: {', '.join(names) or 'none'}"
    if name is None and len(names) == 1:
        return names[0]
    if name is None and names:
        raise bad_parameter("account", f"must be given, because there are several; {configured}")
    if name not in names:
        raise Refused(UNKNOWN_ACCOUNT, configured if name is None else f"account: unknown {name[:60]!r}; {configured}")
    return name


def monitor_meant(desk: Desk, name: str | None) -> Monitor:
    """Return the monitor of the account of this name, or of the only one. Raises: Refused."""
    account = account_meant(desk, name)
    monitor = shown(desk, account)
    if monitor is None:
        holder = None if desk.cluster is None else desk.cluster.elsewhere(account)
        if holder is not None:
            raise Refused(HELD_ELSEWHERE, f"{whereabouts(holder)}: ask there")
        raise Refused(FOLDING, f"account {account} is not open yet: {desk.unready or 'its journal is being folded'}")
    return monitor


def whereabouts(holder: RollAccount) -> str:
    """Return who holds an account, and where that process is reached."""
    where = f", at {holder.address}" if holder.address else ""
    return f"account {holder.account} is held by {holder.member}{where}"


def never_held(account: str, key: str) -> Refused:
    """Refuse a symbol or position key that an account never held."""
    return Refused(UNKNOWN_SYMBOL, f"symbol: account {account} never held {key[:60]!r}")


def shown(desk: Desk, account: str) -> Monitor | None:
    """Return the monitor of an account that is configured and has a view."""
    return desk.monitor(account) if account in desk.accounts else None


def shown_accounts(desk: Desk) -> dict[str, Monitor]:
    """Return the monitors of the configured accounts that have a view."""
    monitors = ((account, desk.monitor(account)) for account in desk.accounts)
    return {account: monitor for account, monitor in monitors if monitor is not None}

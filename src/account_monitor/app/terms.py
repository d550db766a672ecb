"""Terms: what the configuration says of an account, in the words of the ledger."""

from __future__ import annotations

from pathlib import Path

from account_monitor.config import AccountSettings, Exchange, OpeningSettings, Settings, split_position_key
from account_monitor.ledger.events import Anchor, Opening
from account_monitor.ledger.instruments import linear_instrument
from account_monitor.ledger.rules import Thresholds


def opening_of(settings: OpeningSettings | None) -> Opening | None:
    """Return what the configuration says an account held at first; cost is the value at the entry price."""
    if settings is None:
        return None
    anchors = []
    for key, position in settings.positions or ():
        symbol, side = split_position_key(key)
        cost = linear_instrument(symbol).value(position.quantity, position.entry_price)
        anchors.append(Anchor(symbol, side, position.quantity, cost, None, settings.at_ms))
    return Opening("config", settings.at_ms or 0, settings.balances, tuple(anchors))


def thresholds_of(settings: Settings, account: AccountSettings) -> Thresholds:
    """Return where the risk alerts of an account begin; without an exchange there are no margins to watch."""
    limits = settings.thresholds_of(account)
    if account.exchange is Exchange.NONE:
        limits = limits._replace(max_margin_ratio=None, min_liquidation_distance_pct=None)
    return Thresholds(
        limits.min_balance, limits.max_drawdown_pct, limits.max_margin_ratio, limits.max_leverage,
        limits.min_liquidation_distance_pct, limits.max_daily_loss, settings.alerts.hysteresis_pct,
    )  # fmt: skip


def has_journal(data_dir: Path, account: AccountSettings) -> bool:
    """Return whether the account was monitored before, with this directory."""
    return (data_dir / f"{account.name}.journal").exists()

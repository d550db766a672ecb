"""Transfers: how does money come into an account, leave it, or change its kind?"""

from __future__ import annotations

from exchange_simulator import events
from exchange_simulator.accounts import Account
from exchange_simulator.errors import refusal
from exchange_simulator.floor import Floor, tally
from exchange_simulator.margin import asset_margins, dollar_totals
from exchange_simulator.money import UNIT

_INCOME_TYPES = {"OPTIONS_PREMIUM_FEE": "OPTIONS_PREMIUM_FEE", "OPTIONS_SETTLE_PROFIT": "OPTIONS_SETTLE_PROFIT",
                 "ADJUSTMENT": "WELCOME_BONUS"}  # fmt: skip
_NO_TRANSFERS = frozenset({"ADJUSTMENT", "OPTIONS_PREMIUM_FEE", "OPTIONS_SETTLE_PROFIT"})


def withdrawable(floor: Floor, account: Account, asset: str) -> int:
    """Return how much of an asset may leave: free margin without unrealized gains."""
    margins = asset_margins(account, floor.mark)
    margin = margins.get(asset)
    if margin is None:
        return 0
    if not account.multi_assets:
        return margin.withdrawable
    totals, rate = dollar_totals(margins, floor.dollar_rate), floor.dollar_rate(asset)
    free = totals.withdrawable * UNIT // rate.mid if rate.mid else 0
    return max(0, min(margin.cross_wallet, free))


def move(floor: Floor, account: Account, asset: str, amount: int, reason: str) -> int:
    """Move a wallet by a signed amount; return the transaction's id. Raises: −5013 where that is not free."""
    if amount == 0:
        raise refusal(-4003)
    if amount < 0 and -amount > withdrawable(floor, account, asset):
        raise refusal(-5013)
    now, transaction = floor.now(), floor.transaction_id()
    floor.credit(account, asset, amount, now)
    kind = _INCOME_TYPES.get(reason, "TRANSFER")
    tally(account.exchanged if reason in _NO_TRANSFERS else account.transfers, asset, amount)
    floor.record(account, kind, asset, amount, now, transaction, info=kind)
    floor.emit(account, events.account_update(now, reason, [events.balance_row(account, asset, amount)], []))
    return transaction


def exchange(floor: Floor, account: Account, source: str, target: str, amount: int) -> None:
    """Convert at the index price, as the venue does to cover a negative balance: one event, two income rows."""
    now, gained = floor.now(), _converted(floor, source, target, amount)
    if amount <= 0 or amount > account.cross_wallet(source):
        raise refusal(-5013)
    transaction = floor.transaction_id()
    for asset, change in ((source, -amount), (target, gained)):
        floor.credit(account, asset, change, now)
        tally(account.exchanged, asset, change)
        floor.record(account, "AUTO_EXCHANGE", asset, change, now, transaction, info="AUTO_EXCHANGE")
    rows = [events.balance_row(account, source, -amount), events.balance_row(account, target, gained)]
    floor.emit(account, events.account_update(now, "AUTO_EXCHANGE", rows, []))


def swap(floor: Floor, account: Account, source: str, target: str, amount: int) -> None:
    """Convert at the index price on the customer's wish: what leaves, then what comes, each with an event."""
    gained = _converted(floor, source, target, amount)
    if amount <= 0 or amount > withdrawable(floor, account, source):
        raise refusal(-5013)
    now, transaction = floor.now(), floor.transaction_id()
    for asset, change, kind in ((source, -amount, "COIN_SWAP_WITHDRAW"), (target, gained, "COIN_SWAP_DEPOSIT")):
        floor.credit(account, asset, change, now)
        tally(account.transfers, asset, change)
        floor.record(account, kind, asset, change, now, transaction, info=kind)
        floor.emit(account, events.account_update(now, kind, [events.balance_row(account, asset, change)], []))


def _converted(floor: Floor, source: str, target: str, amount: int) -> int:
    worth, price = floor.dollar_rate(source).mid, floor.dollar_rate(target).mid
    if not worth or not price or source == target:
        raise refusal(-1121)
    return amount * worth // price

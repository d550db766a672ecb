"""Admin: what may whoever runs the simulated exchange see and do, that no customer of a real one could?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from exchange_simulator.accounts import PERMISSIONS, Account
from exchange_simulator.errors import VenueError
from exchange_simulator.exchange import Exchange
from exchange_simulator.faults import UnknownFault
from exchange_simulator.parameters import Parameters, read_parameters
from exchange_simulator.symbols import ASSETS
from exchange_simulator.wire import Reply, error_reply, json_reply

PREFIX = "/admin/"

_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,8})?")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LONGEST_SHIFT_MS = 366 * 86_400_000


class BadOrder(ValueError):
    """What the operator wrote cannot be done; the text says what was expected."""


class Order:
    """What the operator wants done, read strictly: a JSON object."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields

    def text(self, name: str, default: str | None = None) -> str:
        value = self.fields.get(name, default)
        if not isinstance(value, str) or not value:
            raise BadOrder(f"{name} was {value!r}, expected text")
        return value

    def amount(self, name: str) -> str:
        value = self.fields.get(name)
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
            raise BadOrder(f"{name} was {value!r}, expected a number as text with at most 8 decimals")
        return text

    def optional_amount(self, name: str) -> str | None:
        return None if self.fields.get(name) is None else self.amount(name)

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        value = self.fields.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadOrder(f"{name} was {value!r}, expected a whole number from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        value = self.fields.get(name, False)
        if not isinstance(value, bool):
            raise BadOrder(f"{name} was {value!r}, expected true or false")
        return value

    def names(self, name: str, known: tuple[str, ...]) -> list[str]:
        value = self.fields.get(name, list(known))
        if not isinstance(value, list) or not all(item in known for item in value):
            raise BadOrder(f"{name} was {value!r}, expected a list of {', '.join(known)}")
        return value


class Admin:
    """The back door of one exchange. `shift_clock` moves its clock forward."""

    def __init__(self, exchange: Exchange, shift_clock: Callable[[int], None] | None = None) -> None:
        self._exchange = exchange
        self._venue = exchange.venue
        self._shift_clock = shift_clock
        self._actions: dict[tuple[str, str], Callable[[Order], Any]] = {
            ("GET", "books"): lambda order: self._venue.books(self._account(order)),
            ("GET", "accounts"): lambda _: sorted(self._venue.accounts),
            ("POST", "accounts"): self._open_account,
            ("GET", "statistics"): lambda _: exchange.statistics(),
            ("GET", "faults"): lambda _: exchange.faults.describe(),
            ("POST", "faults"): self._set_faults,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "order"): self._place_order,
            ("POST", "price"): self._set_price,
            ("POST", "funding-rate"): self._set_funding_rate,
            ("POST", "fund"): lambda _: self._venue.fund_now(),
            ("POST", "deposit"): lambda order: self._move_money(order, self._venue.deposit, "DEPOSIT"),
            ("POST", "withdraw"): lambda order: self._move_money(order, self._venue.withdraw, "WITHDRAW"),
            ("POST", "transfer"): lambda order: self._move_money(order, self._venue.transfer, "ASSET_TRANSFER"),
            ("POST", "liquidate"): self._liquidate,
            ("POST", "adl"): self._adl,
            ("POST", "delist"): lambda order: self._venue.delist(self._symbol(order)),
            ("POST", "permissions"): self._set_permissions,
            ("POST", "expire-key"): self._expire_key,
            ("POST", "disconnect"): self._disconnect,
            ("POST", "lift-bans"): self._lift_bans,
            ("POST", "clock"): self._move_clock,
        }

    def handle(self, method: str, path: str, query: str, body: bytes) -> Reply:
        """Do what is asked; the answer says what was done, or in one line what was wrong with it."""
        action = self._actions.get((method, path.removeprefix(PREFIX)))
        if action is None:
            known = ", ".join(f"{verb} {PREFIX}{name}" for verb, name in self._actions)
            return error_reply(404, -5000, f"{method} {path} is not there; there is {known}")
        try:
            done = action(_read(query, body))
        except (BadOrder, UnknownFault) as error:
            return error_reply(400, -1130, str(error))
        except VenueError as error:
            return error_reply(error.status, error.code, error.message)
        self._exchange.rest.settle()
        return json_reply(200, {} if done is None else done)

    # -- accounts

    def _account(self, order: Order) -> Account:
        api_key = order.text("api_key", "demo-key")
        account = self._venue.accounts.get(api_key)
        if account is None:
            raise BadOrder(f"api_key {api_key!r} is not known; expected one of {', '.join(self._venue.accounts)}")
        return account

    def _open_account(self, order: Order) -> Any:
        api_key, secret = order.text("api_key"), order.text("secret")
        if not _NAME.fullmatch(api_key) or api_key in self._venue.accounts:
            raise BadOrder(f"api_key was {api_key!r}, expected a new one of letters, digits, - and _")
        wallets = order.fields.get("wallets", {"USDT": "10000"})
        if not isinstance(wallets, dict):
            raise BadOrder(f"wallets was {wallets!r}, expected an object of asset and amount")
        amounts = Order(wallets)
        for asset in wallets:
            _check_asset(asset)
        self._venue.open_account(
            api_key, secret, wallets={asset: amounts.amount(asset) for asset in wallets},
            permissions=order.names("permissions", PERMISSIONS), hedge=order.flag("hedge"),
            multi_assets=order.flag("multi_assets"), fee_burn=order.flag("fee_burn"),
            leverage=order.whole("leverage", 1, 125, 20),
        )  # fmt: skip
        return {"api_key": api_key}

    def _set_permissions(self, order: Order) -> Any:
        account = self._account(order)
        account.permissions = set(order.names("permissions", PERMISSIONS))
        return {"permissions": sorted(account.permissions)}

    def _move_money(self, order: Order, move: Callable[..., Any], reason: str) -> Any:
        asset = _check_asset(order.text("asset", "USDT"))
        return move(self._account(order), asset, order.amount("amount"), order.text("reason", reason))

    def _place_order(self, order: Order) -> Any:
        account = self._account(order)
        fields = {name: value for name, value in order.fields.items() if name != "api_key"}
        for name, value in fields.items():
            if not isinstance(value, str):
                raise BadOrder(f"{name} was {value!r}, expected text, as in a request")
        return self._venue.place_order(account, Parameters(fields))

    # -- the market

    def _symbol(self, order: Order) -> str:
        symbol = order.text("symbol")
        if symbol not in self._venue.symbols:
            raise BadOrder(f"symbol {symbol!r} is not known; expected one of {', '.join(self._venue.symbols)}")
        return symbol

    def _set_price(self, order: Order) -> None:
        mark = order.amount("mark")
        if mark.startswith("-") or not mark.strip("0."):
            raise BadOrder(f"mark was {mark!r}, expected a price above 0")
        self._venue.set_price(self._symbol(order), mark, index=order.optional_amount("index"))

    def _set_funding_rate(self, order: Order) -> None:
        self._venue.set_funding_rate(self._symbol(order), order.amount("rate"))

    def _liquidate(self, order: Order) -> None:
        self._venue.liquidate(*self._position(order))

    def _adl(self, order: Order) -> None:
        self._venue.adl(*self._position(order), order.optional_amount("quantity"))

    def _position(self, order: Order) -> tuple[Account, str, str]:
        """Return account, symbol and side of a position that is open."""
        account, symbol, side = self._account(order), self._symbol(order), order.text("position_side", "BOTH")
        held = self._venue.books(account)["positions"]
        if (symbol if side == "BOTH" else f"{symbol}:{side}") not in held:
            raise BadOrder(f"{symbol} {side} is not held; expected one of {', '.join(held) or 'none'}")
        return account, symbol, side

    # -- faults, keys, connections, time

    def _set_faults(self, order: Order) -> Any:
        for name, settings in order.fields.items():
            if not isinstance(settings, dict):
                raise BadOrder(f"fault {name!r}: settings were {settings!r}, expected an object, {{}} for none")
            if "name" in settings:
                raise BadOrder(f"fault {name!r}: name is no setting")
            self._exchange.faults.set(name, **settings)
        return self._exchange.faults.describe()

    def _clear_faults(self, order: Order) -> Any:
        self._exchange.faults.clear(order.text("name", "all"))
        return self._exchange.faults.describe()

    def _expire_key(self, order: Order) -> Any:
        silently = order.flag("silently")
        return {"expired": self._exchange.expire_key(self._account(order).api_key, silently=silently)}

    def _disconnect(self, order: Order) -> Any:
        api_key = order.text("api_key") if "api_key" in order.fields else None
        code = order.whole("code", 1000, 4999, 1001)
        return {"disconnected": self._exchange.disconnect(api_key, code)}

    def _lift_bans(self, _order: Order) -> None:
        self._exchange.limits.lift_bans()
        self._exchange.spot_limits.lift_bans()

    def _move_clock(self, order: Order) -> Any:
        if self._shift_clock is None:
            raise BadOrder("this clock cannot be moved from here")
        self._shift_clock(order.whole("forward_ms", 1, _LONGEST_SHIFT_MS))
        self._exchange.advance()
        return {"now_ms": self._venue.now()}


def _check_asset(asset: str) -> str:
    if asset not in ASSETS:
        raise BadOrder(f"asset {asset!r} is not known; expected one of {', '.join(ASSETS)}")
    return asset


def _read(query: str, body: bytes) -> Order:
    """Return the fields of query and body. Raises: BadOrder, VenueError."""
    fields: dict[str, Any] = dict(read_parameters(query, ""))
    if body.strip():
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            raise BadOrder("the body was no JSON, expected an object") from None
        if not isinstance(said, dict):
            raise BadOrder(f"the body was {said!r:.50}, expected an object")
        fields.update(said)
    return Order(fields)

"""WebSocket API: requests and answers over a socket, /ws-fapi/v1 for futures and /ws-api/v3 for Spot.

As much of it as clients use that watch an account: listen keys, reports, orders, and Spot's user data subscriptions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from exchange_simulator.connection import FUTURES, SPOT, Connection, World
from exchange_simulator.errors import VenueError
from exchange_simulator.keys import ListenKeys
from exchange_simulator.limits import ORDERS_A_MINUTE, ORDERS_IN_10_SECONDS, WEIGHT_A_MINUTE, Limited, Limits
from exchange_simulator.parameters import Parameters
from exchange_simulator.rest import Rest
from exchange_simulator.signatures import check_signature, check_time
from exchange_simulator.wire import Output, to_json

_CALLS: Mapping[str, tuple[str, str]] = {
    "account.balance": ("GET", "/fapi/v2/balance"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "account.status": ("GET", "/fapi/v2/account"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "account.position": ("GET", "/fapi/v2/positionRisk"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
    "order.place": ("POST", "/fapi/v1/order"),
    "order.modify": ("PUT", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "ticker.price": ("GET", "/fapi/v1/ticker/price"),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker"),
    "depth": ("GET", "/fapi/v1/depth"),
}
"""Methods that are calls of the REST interface by another name."""

_MOST_SUBSCRIPTIONS = 1000
_LONGEST_MS = 60_000  # of recvWindow, on Spot

_Method = Callable[[Parameters], Any]


class ApiConnection(Connection):
    """A connection of the WebSocket API."""

    def __init__(
        self, world: World, output: Callable[[Output], None], rest: Rest, keys: ListenKeys, *, ip: str, is_spot: bool
    ) -> None:
        super().__init__(world, output, ip=ip, rules=SPOT if is_spot else FUTURES)
        self._clock = world.clock
        self._own_limits: Limits = world.limits
        self._rest = rest
        self._keys = keys
        self._is_spot = is_spot
        self._subscriptions: dict[int, str] = {}
        self._next_subscription = 0
        self._since_ms = world.clock()
        common: dict[str, _Method] = {
            "ping": lambda _: {},
            "time": lambda _: {"serverTime": self._clock()},
            "session.logon": self._refuse_logon,
            "session.logout": lambda _: self._session(),
            "session.status": lambda _: self._session(),
        }
        self._methods = {**common, **(self._spot_methods() if is_spot else self._futures_methods())}

    def heard(self, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self.answer(self._failed(None, VenueError(-1135, "Invalid JSON request; expected an object."), True))
            return
        self.answer(self._answered(message))

    def _answered(self, message: dict[str, Any]) -> str:
        request_id, method, params = message.get("id"), message.get("method"), message.get("params", {})
        if isinstance(request_id, bool) or not isinstance(request_id, str | int | None):
            return self._failed(None, VenueError(-1135, "Invalid 'id' in JSON request."), True)
        with_limits = True
        try:
            if not isinstance(method, str):
                raise VenueError(-1135, "'method' in JSON request is missing.")
            if not isinstance(params, dict):
                raise VenueError(-1135, "Invalid 'params' in JSON request; expected an object.")
            with_limits = params.get("returnRateLimits") not in (False, "false")  # it stays: it is signed too
            return self._done(request_id, self._result(method, _read(params)), with_limits)
        except VenueError as error:
            return self._failed(request_id, error, with_limits)
        except Limited as limited:
            refusal = VenueError(-1003, limited.message, limited.status)
            return self._failed(request_id, refusal, with_limits, {"retryAfter": limited.until_ms})

    def _result(self, method: str, parameters: Parameters) -> Any:
        if method in self._methods:
            self._own_limits.take(self._ip, 2 if method.startswith("userDataStream.subscribe") else 1)
            return self._methods[method](parameters)
        if method in _CALLS and not self._is_spot:
            return self._rest.call_signed(*_CALLS[method], parameters, parameters.get("apiKey", ""), self._ip)
        raise VenueError(-5000, f"Method {method} is invalid")

    # -- methods

    def _futures_methods(self) -> dict[str, _Method]:
        return {
            "userDataStream.start": lambda p: {"listenKey": self._keys.start(self._caller(p))},
            "userDataStream.ping": lambda p: {"listenKey": self._keys.renew(self._caller(p))},
            "userDataStream.stop": self._stop,
        }

    def _spot_methods(self) -> dict[str, _Method]:
        return {
            "userDataStream.subscribe.signature": self._subscribe,
            "userDataStream.unsubscribe": self._unsubscribe,
            "session.subscriptions": lambda _: [{"subscriptionId": number} for number in self._subscriptions],
        }

    def _caller(self, parameters: Parameters) -> str:
        return self._rest.caller(parameters.required("apiKey"), self._ip).api_key

    def _stop(self, parameters: Parameters) -> Any:
        self._keys.close(self._caller(parameters))
        return {}

    def _refuse_logon(self, parameters: Parameters) -> Any:
        """Refuse: keys with a secret cannot log on, only Ed25519 keys can."""
        self._caller(parameters)
        raise VenueError(-4056, "HMAC_SHA256 API key is not supported.")

    def _session(self) -> Any:
        return {
            "apiKey": None, "authorizedSince": None, "connectedSince": self._since_ms, "returnRateLimits": True,
            "serverTime": self._clock(), "userDataStream": bool(self._subscriptions),
        }  # fmt: skip

    def _subscribe(self, parameters: Parameters) -> Any:
        account = self._rest.caller(parameters.required("apiKey"), self._ip)
        check_time(parameters, self._clock(), longest_ms=_LONGEST_MS)
        check_signature(account.secret, parameters)
        if account.api_key in self._subscriptions.values():
            raise VenueError(-1186, "User data stream is already subscribed.")
        if len(self._subscriptions) >= _MOST_SUBSCRIPTIONS:
            raise VenueError(-1187, "Too many subscriptions.")
        number = self._next_subscription
        self._next_subscription += 1
        self._subscriptions[number] = self.account = account.api_key
        return {"subscriptionId": number}

    def _unsubscribe(self, parameters: Parameters) -> Any:
        number = parameters.integer("subscriptionId")
        if number is not None and number not in self._subscriptions:
            raise VenueError(-1188, "No such subscription.")
        for ended in [number] if number is not None else list(self._subscriptions):
            del self._subscriptions[ended]
            self.send(to_json({"subscriptionId": ended, "event": {"e": "eventStreamTerminated", "E": self._clock()}}))
        return {}

    def send_spot(self, api_key: str, event: Mapping[str, Any]) -> None:
        """Send a Spot event to the subscription of that account, if there is one."""
        for number, subscribed in list(self._subscriptions.items()):
            if subscribed == api_key:
                self.send(to_json({"subscriptionId": number, "event": event}), api_key)

    # -- answers

    def _done(self, request_id: Any, result: Any, with_limits: bool) -> str:
        return to_json({"id": request_id, "status": 200, "result": result, **self._usage(with_limits)})

    def _failed(
        self, request_id: Any, error: VenueError, with_limits: bool, data: Mapping[str, Any] | None = None
    ) -> str:
        problem = {"code": error.code, "msg": error.message, **({"data": data} if data else {})}
        return to_json({"id": request_id, "status": error.status, "error": problem, **self._usage(with_limits)})

    def _usage(self, with_limits: bool) -> dict[str, Any]:
        if not with_limits:
            return {}
        used = self._own_limits.used_weight(self._ip)
        rows = [_limit("REQUEST_WEIGHT", "MINUTE", 1, 6000 if self._is_spot else WEIGHT_A_MINUTE, used)]
        if self.account and not self._is_spot:
            counts = self._own_limits.orders(self.account)
            rows.append(_limit("ORDERS", "SECOND", 10, ORDERS_IN_10_SECONDS, counts.in_10_seconds))
            rows.append(_limit("ORDERS", "MINUTE", 1, ORDERS_A_MINUTE, counts.in_minute))
        return {"rateLimits": rows}


def _limit(kind: str, interval: str, number: int, limit: int, count: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit, "count": count}


def _read(params: Mapping[str, Any]) -> Parameters:
    """Return parameters as texts. What is signed is all of them but the signature, in alphabetical order."""
    values = {name: _as_text(value) for name, value in params.items() if value is not None}
    signed = "&".join(f"{name}={values[name]}" for name in sorted(values) if name != "signature")
    return Parameters(values, signed)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else to_json(value)

"""REST: who asks for what, may they, and what is answered? Every request is taken for hostile."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from exchange_simulator.accounts import Account
from exchange_simulator.calls import Call, Route
from exchange_simulator.countdown import Countdown
from exchange_simulator.errors import VenueError
from exchange_simulator.faults import Faults
from exchange_simulator.keys import ListenKeys
from exchange_simulator.limits import Limited, Limits
from exchange_simulator.parameters import Parameters, read_parameters
from exchange_simulator.rest_faults import RestFaults, limited_reply, refused_key
from exchange_simulator.routes import ROUTES, is_spot
from exchange_simulator.signatures import check_signature, check_time
from exchange_simulator.snapshots import PATHS, Snapshots
from exchange_simulator.venue import Venue
from exchange_simulator.wire import Reply, Request, error_reply, json_reply

_API_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SPOT_LONGEST_MS = 60_000  # the longest recvWindow there
_EMPTY_JSON = (b"", b"{}", b"null", b'""')


class Rest:
    """The REST interface of one venue."""

    def __init__(self, venue: Venue, *, keys: ListenKeys, limits: Limits, spot_limits: Limits, faults: Faults) -> None:
        self._venue = venue
        self._keys = keys
        self._limits = limits
        self._spot_limits = spot_limits
        self._faults = RestFaults(faults)
        self.snapshots = Snapshots(venue)
        self.countdown = Countdown(venue, venue.now)
        self.counts: Counter[tuple[str, str, int]] = Counter()
        """Requests by method, path and status."""

    def handle(self, request: Request) -> Reply:
        """Answer a request; never raises, whatever was sent."""
        self.settle()
        limits = self._spot_limits if is_spot(request.path) else self._limits
        route = ROUTES.get((request.method, request.path))
        reply = self._handled(request, route, limits)
        known = route is not None
        self.counts[request.method if known else "?", request.path if known else "(unknown)", reply.status] += 1
        return reply._replace(headers={**reply.headers, **self._usage(request, limits)})

    def settle(self) -> None:
        """Keep copies of what changed, while somebody wants them."""
        if self._faults.wants_snapshots():
            self.snapshots.settle(self._venue.now())
        else:
            self.snapshots.forget()

    def call_signed(self, method: str, path: str, parameters: Parameters, api_key: str, ip: str) -> Any:
        """Carry out a call that came another way than HTTP. Raises: VenueError, Limited."""
        route = ROUTES[method, path]
        self._limits.take(ip, route.weight(parameters))
        return self._carry_out(route, parameters, api_key, ip, path)

    def caller(self, api_key: str, ip: str, permission: str = "READ") -> Account:
        """Return whose key this is. Raises: VenueError −2014, −2015."""
        if not _API_KEY.fullmatch(api_key):
            raise VenueError(-2014, "API-key format invalid.", 401)
        account = self._venue.accounts.get(api_key)
        if account is None or permission not in account.permissions:
            status, code, text = refused_key(ip)
            raise VenueError(code, text, status)
        return account

    # -- steps of one request

    def _handled(self, request: Request, route: Route | None, limits: Limits) -> Reply:
        now = self._venue.now()
        api_key, path, ip = request.headers.get("x-mbx-apikey", ""), request.path, request.ip
        problem: VenueError | None = None
        try:
            parameters = _parameters_of(request)
        except VenueError as error:
            parameters, problem = Parameters({}), error
        try:
            limits.take(ip, route.weight(parameters) if route else 1)
        except Limited as limited:
            return limited_reply(limited)
        if route is None:
            return error_reply(404, -5000, f"Path {path}, Method {request.method} is invalid")
        asked_for_key = api_key if route.security != "none" else ""
        if refusal := self._faults.instead(limits, ip, now, asked_for_key, path):
            return refusal
        reply = self._answered(route, parameters, problem, request, api_key)
        return self._faults.spoiled(reply, now, api_key, path)

    def _answered(
        self, route: Route, parameters: Parameters, problem: VenueError | None, request: Request, api_key: str
    ) -> Reply:
        headers: dict[str, str] = {}
        try:
            if problem is not None:
                raise problem
            answer = self._carry_out(route, parameters, api_key, request.ip, request.path)
        except Limited as limited:
            return limited_reply(limited)
        except VenueError as error:
            reply = error_reply(error.status, error.code, error.message)
        else:
            reply = json_reply(200, answer)
        if route.orders is not None and api_key in self._venue.accounts:
            headers = self._limits.orders(api_key).headers()
        return reply._replace(headers={**reply.headers, **headers})

    def _carry_out(self, route: Route, parameters: Parameters, api_key: str, ip: str, path: str) -> Any:
        now = self._venue.now()
        now += self._faults.skew_ms(now, api_key, path)
        limits = self._spot_limits if is_spot(path) else self._limits
        account = None
        if route.security != "none":
            account = self.caller(api_key, ip, route.permission)
        if route.security == "signed" and account is not None:
            check_time(parameters, now, longest_ms=_SPOT_LONGEST_MS if is_spot(path) else None)
            check_signature(account.secret, parameters)
            if route.orders is not None:
                limits.take_orders(api_key, route.orders(parameters))
        if route.is_paged:
            parameters = self._faults.widened(parameters, now, api_key, path)
        call = Call(self._venue, parameters, account, self._keys, limits, self.countdown, ip, now)
        if path in PATHS and (lag_ms := self._faults.stale_ms(now, api_key, path)) is not None:
            stale = self.snapshots.at(api_key, path, self._venue.now() - lag_ms, parameters.text("symbol"))
            if stale is not None:
                return stale
        answer = route.answer(call)
        return self._faults.page(answer, now, api_key, path) if route.is_paged else answer

    def _usage(self, request: Request, limits: Limits) -> dict[str, str]:
        used = str(limits.used_weight(request.ip))
        return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used} if is_spot(request.path) else {
            "X-MBX-USED-WEIGHT-1M": used
        }  # fmt: skip


def _parameters_of(request: Request) -> Parameters:
    """Return the parameters of query and body. Raises: VenueError."""
    body = request.body if request.method != "GET" else b""
    if "json" in request.headers.get("content-type", "").lower():
        if body.strip() not in _EMPTY_JSON:
            raise VenueError(-1102, "Parameters have to be sent as query string or as form.")
        body = b""
    return read_parameters(request.query, body.decode("utf-8", "surrogateescape"))

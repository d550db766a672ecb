"""Health: the standard health service, which says SERVING while the service is ready. It needs no token.

The servicer that comes with grpcio writes while it holds a lock: one client that takes nothing would keep everybody
from hearing of a change.
"""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1.health import OVERALL_HEALTH, SERVICE_NAME
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from account_monitor.api.grpc.calls import Asker, Calls, Context, parsed
from account_monitor.api.problems import UNKNOWN_ACCOUNT, Kind, Refused
from account_monitor.monitor.desk import Desk

LOOK_SECONDS = 0.1
"""How often it is looked whether the service is ready, for those who watch."""

UNKNOWN_SERVICE = Kind("unknown-service", UNKNOWN_ACCOUNT.status, "There is no service of this name")


class Readiness:
    """Follows the readiness of a desk, for the service as a whole and by name."""

    def __init__(self, desk: Desk, service: str) -> None:
        self._desk = desk
        self._names = (OVERALL_HEALTH, service)
        self.is_stopping = False
        """Set when nothing is served any more."""

    def handler(self, checks: Calls, watches: Calls) -> grpc.GenericRpcHandler:
        """Return what answers; those who watch take no room from those who only ask."""
        handlers = {"Check": checks.unary("Check", self._check), "Watch": watches.stream("Watch", self._watch)}
        return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)

    async def _check(self, asker: Asker, body: bytes) -> bytes:
        name = parsed(HealthCheckRequest, body).service
        if name not in self._names:
            raise Refused(UNKNOWN_SERVICE, f"service: unknown {name[:60]!r}; expected one of {self._names}")
        return self._status(name).SerializeToString()

    async def _watch(self, asker: Asker, body: bytes, context: Context) -> None:
        name, told = parsed(HealthCheckRequest, body).service, None
        while not self.is_stopping or told is None:
            status = self._status(name)
            if status != told:
                await context.write(status.SerializeToString())
                told = status
            await asyncio.sleep(LOOK_SECONDS)

    def _status(self, name: str) -> HealthCheckResponse:
        if name not in self._names:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        is_ready = self._desk.unready is None and not self.is_stopping
        return HealthCheckResponse(status=HealthCheckResponse.SERVING if is_ready else HealthCheckResponse.NOT_SERVING)

"""Descriptors: how many the system gives, and how the doors divide what is left for clients."""

from __future__ import annotations

import resource
import sys

RESERVED_FILES = 256
"""Descriptors that no client gets: journals, databases, feeds."""

METRICS_PART, GRPC_PART = 8, 4
"""The metrics have an eighth, so that health is answered while the other doors are full; gRPC has a quarter."""


class Descriptors:
    """One budget for all doors: what each may have comes to no more than there is."""

    def __init__(self, *, with_grpc: bool) -> None:
        self._with_grpc = with_grpc

    def of_http(self) -> int:
        """Return how many clients of HTTP and WebSocket may have."""
        total = _total()
        return total - self.of_metrics() - (self.of_grpc() if self._with_grpc else 0)

    def of_metrics(self) -> int:
        """Return how many clients of the metrics port may have."""
        return max(1, _total() // METRICS_PART)

    def of_grpc(self) -> int:
        """Return how many clients of gRPC may have."""
        return max(1, _total() // GRPC_PART)


def _total() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(3, soft - RESERVED_FILES)

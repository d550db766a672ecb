"""Complaints: what does not work is said in the log once, and again only for another reason, or after it had worked."""

from __future__ import annotations

from typing import Any

import structlog

log = structlog.get_logger()


class Complaints:
    """What was logged of things that are tried again and again, such as the journal of each account."""

    def __init__(self, event: str) -> None:
        """`event`: the name under which it is logged."""
        self._event = event
        self._reasons: dict[str, str] = {}

    def say(self, about: str, reason: str, **more: Any) -> None:
        """Log why something does not work, unless that was the reason already."""
        if self._reasons.get(about) != reason:
            self._reasons[about] = reason
            log.warning(self._event, **more, reason=reason)

    def withdraw(self, about: str) -> None:
        """Note that it works, so that the next failure is news."""
        self._reasons.pop(about, None)

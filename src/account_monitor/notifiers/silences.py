"""Silences and acknowledgements, as far as those who tell people need them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from account_monitor.ledger.alerts import Alert
from account_monitor.monitor.monitor import Monitor


class Silence(Protocol):
    """Somebody asked not to be told of some alerts of an account for a while."""

    @property
    def type(self) -> str | None:
        """Of this type only; None: of every type."""

    @property
    def symbol(self) -> str | None:
        """Of this symbol only; None: of every symbol."""

    @property
    def from_ms(self) -> int:
        """When it begins."""

    @property
    def until_ms(self) -> int:
        """When it is over."""


def silences_of(monitor: Monitor) -> Sequence[Silence]:
    """Return the silences of an account."""
    silences: Sequence[Silence] = getattr(monitor, "silences", ())
    return silences


def is_silenced(alert: Alert, silences: Iterable[Silence], now_ms: int) -> bool:
    """Whether nobody wants to hear of an alert now."""
    return any(
        silence.from_ms <= now_ms < silence.until_ms
        and silence.type in (None, alert.type)
        and silence.symbol in (None, alert.symbol)
        for silence in silences
    )


def acknowledgement(alert: Alert) -> str | None:
    """Return who has said that they look after an alert, None where nobody has."""
    by: str | None = getattr(alert, "acked_by", None)
    return by

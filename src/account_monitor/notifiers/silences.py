"""Silences: of what are people not to be told right now?"""

from __future__ import annotations

from collections.abc import Iterable

from account_monitor.ledger.alerts import Alert, Silence


class SilencesInEffect:
    """The silences of one account that are in effect at one moment, so that many alerts can be looked up in them.

    An account has one silence of each type and symbol, and may have a thousand; as many transitions may wait.
    """

    def __init__(self, silences: Iterable[Silence], now_ms: int) -> None:
        self._keys = {
            (silence.type, silence.symbol) for silence in silences if silence.from_ms <= now_ms < silence.until_ms
        }

    def cover(self, alert: Alert) -> bool:
        """Whether one of them `covers` the alert."""
        if not self._keys:
            return False
        kinds, symbols = (None, alert.type), (None, alert.symbol)
        return any((kind, symbol) in self._keys for kind in kinds for symbol in symbols)

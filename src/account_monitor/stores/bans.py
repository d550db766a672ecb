"""Bans: until when does an exchange want to be left alone? Written down, so that a restart does not forget it.

One small file beside the journals. What cannot be read or written is said and does no harm: the exchange says it again.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import structlog

from account_monitor.monitor.ports import Clock

FILE_NAME = "bans.json"

_decode = msgspec.json.Decoder(dict[str, tuple[int, int]]).decode

log = structlog.get_logger(__name__)


class Bans:
    """By address of an exchange, until when nothing may be asked there, by the local clock, and for how long, in ms.

    The clock may have been wrong when it was noted.
    """

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._file = data_dir / FILE_NAME
        self._clock = clock

    def remaining_ms(self, address: str) -> int:
        """Return how long an address wants to be left alone, 0 where it does not."""
        until_ms, for_ms = self._read().get(address, (0, 0))
        return min(max(0, until_ms - self._clock()), for_ms)

    def note(self, address: str, for_ms: int) -> None:
        """Write down that an address wants to be left alone for so long from now on."""
        now_ms = self._clock()
        lasting = {name: ban for name, ban in self._read().items() if ban[0] > now_ms}
        if for_ms > self.remaining_ms(address):
            lasting[address] = (now_ms + for_ms, for_ms)
        scratch = self._file.with_suffix(".new")
        try:
            scratch.write_bytes(msgspec.json.encode(lasting))
            scratch.replace(self._file)
        except OSError as error:
            log.warning("ban_not_written", file=str(self._file), reason=str(error))

    def _read(self) -> dict[str, tuple[int, int]]:
        try:
            return _decode(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("bans_not_read", file=str(self._file), reason=str(error))
            return {}

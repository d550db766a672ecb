"""Logs: what the program says about itself, one line each, without secrets, and never at the price of an error."""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any, Final, TextIO, TypeAlias

import structlog

from account_monitor.config import LogFormat, LoggingSettings, LogLevel, Secret
from account_monitor.config.secrets import escaped, hide_passwords, is_secret_name
from account_monitor.ledger.money import to_text

Fields: TypeAlias = Mapping[str, Any]
Plain: TypeAlias = str | int | float | list[Any] | dict[str, Any] | None
"""What JSON can say. Decimals are text by then."""

# A line beyond these bounds tells nobody more, and could fill a disk.
MAX_DEPTH: Final = 6
MAX_ITEMS: Final = 100
MAX_TEXT: Final = 8_192
MAX_DIGITS: Final = 100
MAX_CAUSES: Final = 4

_HIDDEN: Final = "***"
_OURS: Final = ("timestamp", "level", "event", "exception", "traceback")
_LEVELS: Final = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}
_QUIET: Final = {"uvicorn.access": logging.WARNING, "asyncio": logging.INFO, "websockets": logging.INFO}
"""Loggers that say something for every request or frame: unless the level is debug, this is their least severity."""

_COLORS: Final = {"debug": 2, "info": 32, "warning": 33, "error": 31, "critical": 31}


def configure_logging(
    settings: LoggingSettings, stream: TextIO | None = None, *, clock: Callable[[], int] | None = None
) -> None:
    """Send structlog and the standard library's loggers through one pipe to `stream`, standard error by default.

    Can be called again, to change level or format. `clock` returns milliseconds since 1970-01-01 UTC.
    """
    pipe = _Pipe(settings, stream, clock or _now_ms)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, pipe.line_of],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=lambda *_: pipe,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_StandardHandler(pipe)]
    root.setLevel(_LEVELS[settings.level])
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(logging.NOTSET if settings.level is LogLevel.DEBUG else level)
    logging.captureWarnings(capture=True)


class _Pipe:
    """Makes lines and writes them. Nothing that it is given makes it raise."""

    def __init__(self, settings: LoggingSettings, stream: TextIO | None, clock: Callable[[], int]) -> None:
        self._stream = stream
        self._clock = clock
        self._has_traceback = settings.level is LogLevel.DEBUG
        self._is_json = settings.format is LogFormat.JSON
        self._lock = threading.RLock()  # a destructor may log while a line is written

    def line_of(self, _logger: object, level: str, fields: MutableMapping[str, Any]) -> str:
        """Return the line that says this, as structlog's last processor."""
        try:
            entry = self._entry(level, fields)
            if self._is_json:
                return json.dumps(entry, ensure_ascii=False)
            return _console_line(entry, is_colored=self._is_terminal())
        except Exception as error:  # noqa: BLE001  # a line that cannot be made must not stop what it is about
            return json.dumps({"level": "error", "event": "log_line_failed", "exception": type(error).__name__})

    def write(self, line: str) -> None:
        """Write a line. A stream that is closed or full loses it."""
        stream = sys.stderr if self._stream is None else self._stream
        with self._lock:
            try:
                _write(stream, line + "\n")
            except (OSError, ValueError, AttributeError):
                return  # there is no other place to say it

    # What structlog calls with the finished line.
    debug = info = warning = error = critical = write

    def _entry(self, level: str, fields: Fields) -> dict[str, Plain]:
        entry: dict[str, Plain] = {"timestamp": _utc(self._clock()), "level": level}
        entry["event"] = plain(fields.get("event"))
        for name, value in fields.items():
            if name not in ("event", "exc_info"):
                entry[f"{name}_" if name in _OURS else name] = _field(name, value, 0)
        error = _error_of(fields.get("exc_info"))
        if error is not None:
            entry["exception"] = _exception_line(error)
            if self._has_traceback:
                entry["traceback"] = _text("".join(traceback.format_exception(error)))
        return entry

    def _is_terminal(self) -> bool:
        return bool((self._stream or sys.stderr).isatty())


class _StandardHandler(logging.Handler):
    """Sends the standard library's records through the pipe."""

    def __init__(self, pipe: _Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        fields = {"event": _message(record), "logger": record.name, "exc_info": record.exc_info}
        self._pipe.write(self._pipe.line_of(None, record.levelname.lower(), fields))


def plain(value: object, depth: int = 0) -> Plain:
    """Return what JSON can say of a value, bounded and without secrets; a value that cannot be shown says so."""
    try:
        return _plain(value, depth)
    except Exception:  # noqa: BLE001  # it runs the code of whatever is logged, which may do anything
        return f"<{type(value).__name__} that cannot be shown>"


def _plain(value: object, depth: int) -> Plain:
    match value:
        case None | bool():
            return value
        case Secret():
            return _HIDDEN
        case Enum():
            return plain(value.value, depth)
        case str():
            return _text(value)
        case int():
            return value if value.bit_length() < 256 else f"<integer of {value.bit_length()} bits>"
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return _decimal(value)
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case BaseException():
            return _exception_line(value)
        case bytes() | bytearray():
            return _text(repr(bytes(value[:MAX_TEXT])))
        case _:
            return _collection(value, depth)


def _collection(value: object, depth: int) -> Plain:
    if depth >= MAX_DEPTH:
        return f"<{type(value).__name__}>"
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        items = islice(value.items(), MAX_ITEMS)
        return {_text(str(name)): _field(str(name), item, depth + 1) for name, item in items} | _more(len(value))
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth + 1) for item in islice(value, MAX_ITEMS)] + list(_more(len(value)))
    return _text(str(value))


def _field(name: str, value: object, depth: int) -> Plain:
    if value is not None and not isinstance(value, bool) and is_secret_name(name):
        return _HIDDEN
    return plain(value, depth)


def _more(count: int) -> dict[str, Plain]:
    return {f"… {count - MAX_ITEMS} more": None} if count > MAX_ITEMS else {}


def _text(text: str) -> str:
    text = hide_passwords(str.__str__(text)[: 2 * MAX_TEXT])
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    # A lone surrogate, as a file name can hold one, is no text that could be written.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _decimal(value: Decimal) -> str:
    has_plain_form = value.is_finite() and -MAX_DIGITS < value.adjusted() < MAX_DIGITS
    return to_text(value) if has_plain_form and len(value.as_tuple().digits) <= MAX_DIGITS else f"{value!s:.130}"


def _error_of(exc_info: object) -> BaseException | None:
    if exc_info is True:
        return sys.exc_info()[1]
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        exc_info = exc_info[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _exception_line(error: BaseException) -> str:
    """Return type, message and place of an error and of what caused it, on one line."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < MAX_CAUSES:
        parts.append(_one_error(current))
        if isinstance(current, BaseExceptionGroup):
            parts.extend(_one_error(inner) for inner in current.exceptions[:MAX_CAUSES])
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return " <- ".join(parts)


def _one_error(error: BaseException) -> str:
    try:
        message = " ".join(_text(str(error)).split())
    except Exception:  # noqa: BLE001  # its __str__ is somebody else's code
        message = "<message that cannot be shown>"
    said = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return said + _place(error)


def _place(error: BaseException) -> str:
    last = error.__traceback__
    if last is None:
        return ""
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    file = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f" ({file}:{last.tb_lineno} in {code.co_name})"


def _message(record: logging.LogRecord) -> Plain:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # arguments that do not fit, or that cannot be shown
        return f"{plain(record.msg)} {plain(record.args)}"


def _console_line(entry: dict[str, Plain], *, is_colored: bool) -> str:
    level, event = str(entry["level"]), escaped(str(entry["event"]))
    clock_time = str(entry["timestamp"])[11:23]
    shown_level = f"\x1b[{_COLORS.get(level, 0)}m{level:8}\x1b[0m" if is_colored else f"{level:8}"
    rest = [
        f"{escaped(name)}={_shown(value)}" for name, value in entry.items() if name not in (*_OURS[:3], "traceback")
    ]
    line = " ".join([clock_time, shown_level, event, *rest])
    trace = entry.get("traceback")
    return line if trace is None else f"{line}\n{_indented(str(trace).splitlines())}"


def _shown(value: Plain) -> str:
    if isinstance(value, str) and value and not any(letter.isspace() or letter in '"=' for letter in value):
        return escaped(value)
    return escaped(json.dumps(value, ensure_ascii=False))


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {escaped(line)}" for line in lines)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # a terminal that does not know the letters
        stream.write(text.encode("ascii", "backslashreplace").decode())
    stream.flush()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _utc(at_ms: int) -> str:
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03}Z"

"""Values: how the text of one key becomes what it means. Each reader raises ValueError, saying what it expected."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

from account_monitor.ledger.money import ZERO, decimal_from_text, to_text

Choice = TypeVar("Choice", bound=StrEnum)

MAX_PORT = 65_535
LONGEST_DURATION_SECONDS = 36_500 * 86_400
"""A hundred years: longer is a slip of the unit."""

_UNIT_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}

_TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""What libpq calls them."""

_BARE = "expected a {0} without the password: name a variable in {1}_env, or a file in {1}_file"

_is_duration = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)").fullmatch
_is_rate = re.compile(r"([0-9]{1,6})/([sm])").fullmatch
_is_whole = re.compile(r"-?[0-9]{1,18}").fullmatch
_is_number = re.compile(r"[0-9]{1,9}").fullmatch
_is_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}").fullmatch
_is_symbol = re.compile(r"(?:[^\W_]|[_-]){1,40}").fullmatch  # letters and digits of every script
_is_position_key = re.compile(r"(?:[^\W_]|[_-]){1,40}(?::(?:LONG|SHORT))?").fullmatch
_is_asset = re.compile(r"(?:[^\W_]|[._-]){1,46}").fullmatch
_is_day_time = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])Z").fullmatch
_is_moment = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
).fullmatch
_is_host = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*").fullmatch
_is_word = re.compile(r"[A-Za-z_-]{1,20}").fullmatch
_is_variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}").fullmatch
_is_path = re.compile(r"/[A-Za-z0-9._~/-]{0,200}").fullmatch
_is_subject = re.compile(r"[^\s.*>\x00-\x1f]+(?:\.[^\s.*>\x00-\x1f]+)*").fullmatch
_is_origin = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?").fullmatch
_url_parts = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<user>[^\s/?#@]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(?::(?P<port>[0-9]{1,5}))?(?:[/?#]\S*)?"
).fullmatch
_redis_parts = re.compile(
    r"rediss?://(?:(?P<user>[^\s/?#@]*)@)?(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?P<number>[^\s/?#&@]*))?(?:\?ssl_ca_certs=[^\s?#&@]+)?"
).fullmatch
_database_parts = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^\s/?#@]*)@)?(?P<servers>[^\s/?#@]*)(?:[/#][^\s?@]*)?(?:\?(?P<query>[^\s@]*))?"
).fullmatch
_server_parts = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(?P<port>.*))?").fullmatch


class NotShown(ValueError):
    """A value was refused that may be, or may hold, a secret: the line about it leaves the value out."""


def boolean(text: str) -> bool:
    """Return what `true` or `false` says; `yes`, `on` and `1` are refused."""
    if text.lower() not in ("true", "false"):
        raise ValueError("expected true or false")
    return text.lower() == "true"


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        if not _is_whole(text) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(text)

    return read


def port(text: str) -> int:
    """Return a port number; 0 picks a free one."""
    if not _is_whole(text) or not 0 <= int(text) <= MAX_PORT:
        raise ValueError(f"expected a port from 1 to {MAX_PORT}, or 0 for a free one")
    return int(text)


def seconds(least: str) -> Callable[[str], float]:
    """Return a reader of durations such as `500ms`, `5s`, `1m`, `4h` and `90d`, not shorter than `least`."""
    least_seconds = _duration(least)

    def read(text: str) -> float:
        value = _duration(text)
        if value < least_seconds:
            raise ValueError(f"expected a duration of at least {least}")
        return float(value)

    return read


def _duration(text: str) -> Decimal:
    """Return the seconds that a duration writes, exactly."""
    match = _is_duration(text)
    if match is None:
        raise ValueError("expected a duration such as 500ms, 5s, 1m, 4h or 90d")
    value = Decimal(match[1]) * _UNIT_SECONDS[match[2]]
    if value > LONGEST_DURATION_SECONDS:
        raise ValueError("expected a duration of at most 36500d")
    return value


def rate(text: str) -> float:
    """Return how often a second something may happen: `100/s`, `30/m`."""
    match = _is_rate(text)
    if match is None or not int(match[1]):
        raise ValueError("expected a rate such as 100/s or 30/m")
    return int(match[1]) / (1 if match[2] == "s" else 60)


def duration_text(seconds: float) -> str:
    """Write a duration in the largest unit of which it is a whole number."""
    exact = Decimal(str(seconds))
    unit = next(unit for unit in reversed(_UNIT_SECONDS) if exact % _UNIT_SECONDS[unit] == 0)
    return f"{to_text(exact / _UNIT_SECONDS[unit])}{unit}"


def number(
    least: Decimal | None = None,
    most: Decimal | None = None,
    *,
    above: Decimal | None = None,
    meaning: str,
) -> Callable[[str], Decimal]:
    """Return a reader of exact decimals from `least` to `most`, greater than `above`; `meaning` says it in words."""

    def read(text: str) -> Decimal:
        try:
            value = decimal_from_text(text)
        except ValueError:
            raise ValueError(f"expected {meaning}") from None
        too_small = (least is not None and value < least) or (above is not None and value <= above)
        if too_small or (most is not None and value > most):
            raise ValueError(f"expected {meaning}")
        return value

    return read


def percentage(least: str, most: str) -> Callable[[str], Decimal]:
    """Return a reader of percentages: `5` means five percent."""
    low, high = Decimal(least), Decimal(most)
    return number(low, high, meaning=f"a percentage from {to_text(low)} to {to_text(high)}, without a percent sign")


amount = number(ZERO, meaning="an amount of 0 or more")
positive = number(above=ZERO, meaning="a number above 0")


def choice(names: type[Choice]) -> Callable[[str], Choice]:
    """Return a reader of one of the names."""
    allowed = [name.value for name in names]
    expected = "expected " + (", ".join(allowed[:-1]) + " or " + allowed[-1] if len(allowed) > 1 else allowed[0])

    def read(text: str) -> Choice:
        try:
            return names(text)
        except ValueError:
            raise ValueError(expected) from None

    return read


def name(text: str) -> str:
    """Return a name that can stand in a file name, a subject and a metric."""
    if text == "_unrouted":
        raise ValueError("expected another name: this one is reserved for messages that name no configured account")
    if not _is_name(text):
        raise ValueError('expected 1 to 64 letters, digits, "_" or "-", the first a letter or digit')
    return text


def asset(text: str) -> str:
    """Return the name of an asset, as the venue writes it."""
    if not _is_asset(text):
        raise ValueError("expected the name of an asset, such as USDT")
    return text


def position_key(text: str) -> str:
    """Return a symbol, or in hedge mode a symbol with its side."""
    if not _is_position_key(text):
        raise ValueError("expected a symbol such as BTCUSDT, or BTCUSDT:LONG or BTCUSDT:SHORT in hedge mode")
    return text


def day_time(text: str) -> int:
    """Return the minutes after 00:00 UTC that `HH:MMZ` says."""
    match = _is_day_time(text)
    if match is None:
        raise ValueError("expected a time of day in UTC, from 00:00Z to 23:59Z")
    return int(match[1]) * 60 + int(match[2])


def moment(text: str) -> int:
    """Return the milliseconds since 1970-01-01 UTC that an RFC 3339 time says."""
    expected = "expected a time such as 2026-11-22T12:00:00.000Z"
    if not _is_moment(text):
        raise ValueError(expected)
    try:
        at = datetime.fromisoformat(text.upper())
        since = at - datetime.fromisoformat("1970-01-01T00:00:00Z")
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def host(text: str) -> str:
    """Return a host name or an IP address to bind to; IPv6 without brackets."""
    expected = "expected a host name or an IP address, such as 127.0.0.1, ::1 or localhost"
    looks_like_address = ":" in text or not text.strip("0123456789.")
    if looks_like_address:
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            raise ValueError(expected) from None
    if not _is_host(text):
        raise ValueError(expected)
    return text


def is_loopback(text: str) -> bool:
    """Whether only this machine can reach a service that binds to this host."""
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return text.lower() == "localhost"


def url(*schemes: str) -> Callable[[str], str]:
    """Return a reader of URLs with one of the schemes and without a password inside."""
    expected = f"expected a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}"

    def read(text: str) -> str:
        parts = _url_parts(text)
        if parts is None or parts["scheme"].lower() not in schemes:
            raise _refused(text, expected)
        if parts["user"] is not None:
            raise NotShown(f"{expected} and names no user and no password")
        if parts["port"] and not 1 <= int(parts["port"]) <= MAX_PORT:
            raise _refused(text, f"{expected}, with a port from 1 to {MAX_PORT}")
        return text

    return read


def nats_urls(text: str) -> tuple[str, ...]:
    """Return the servers of one NATS cluster, written with commas between them."""
    read = url("nats", "tls", "ws", "wss")
    try:
        return tuple(read(part.strip()) for part in text.split(","))
    except NotShown:
        raise NotShown("expected a URL without user, password or token: credentials_file names those") from None


def database_url(text: str) -> str:
    """Return `sqlite`, or a libpq URI without the password."""
    if text == "sqlite":
        return text
    parts = _database_parts(text)
    if parts is None:
        raise _refused(text, "expected sqlite, or a URI such as postgresql://user@host/database")
    if ":" in (parts["user"] or "") or re.search(r"[?&](?:ssl)?password=", text, re.IGNORECASE):
        raise NotShown(_BARE.format("URI", "password"))
    servers = [_server_parts(server) for server in parts["servers"].split(",")]
    hosts, ports = [server and server["host"] for server in servers], [server and server["port"] for server in servers]
    asked = dict(parse_qsl(parts["query"] or "", keep_blank_values=True))
    if (mode := asked.get("sslmode", _TLS_MODES[0])) not in _TLS_MODES:
        shown = f'sslmode was "{mode}", ' if _is_word(mode) else "sslmode is none, "
        raise _refused(text, f"{shown}expected {', '.join(_TLS_MODES[:-1])} or {_TLS_MODES[-1]}")
    ports += asked.get("port", "").split(",")
    if not (_are_hosts(hosts) and _are_hosts(asked.get("host", "").split(","))):
        raise _refused(
            text, "expected host names or IP addresses, such as postgresql://user@db.example.org:5432/database"
        )
    if not all(_is_port(each) for each in ports if each):
        raise NotShown(f"expected a port from 1 to {MAX_PORT}")  # a password without a host looks like one
    return text


def _are_hosts(hosts: list[str | None]) -> bool:
    """Whether these may be servers, or directories of their sockets; a single one may be empty."""
    return hosts == [""] or all(host and _may_be_host(unquote(host)) for host in hosts)


def _may_be_host(text: str) -> bool:
    if text.startswith("/"):
        return text.isprintable()
    try:
        if text.startswith("["):
            ipaddress.IPv6Address(text[1:-1])
        text.encode("idna")  # as it is looked up
    except ValueError:
        return False
    return text.isprintable()


def _is_port(text: str) -> bool:
    return bool(_is_whole(text)) and 1 <= int(text) <= MAX_PORT


def redis_url(text: str) -> str:
    """Return a Redis URL without the password: a user, a database number and a file of authorities may be named."""
    if re.search(r"//[^/@]*:[^@]*@|[?&](?:ssl_)?password=", text, re.IGNORECASE):
        raise NotShown(_BARE.format("URL", "redis_password"))
    parts = _redis_parts(text)
    if parts is None:
        expected = "expected a URL such as redis://cache.example.org:6379/0 or rediss://user@host?ssl_ca_certs=/path"
        raise _refused(text, expected)
    if parts["port"] and not 1 <= int(parts["port"]) <= MAX_PORT:
        raise _refused(text, f"expected a port from 1 to {MAX_PORT}")
    if parts["number"] and not _is_number(parts["number"]):  # how many there are only the server knows
        raise _refused(text, "expected the number of a database, a whole number from 0 up, such as redis://host:6379/0")
    return text


def origin(text: str) -> str:
    """Return the origin of a web page: scheme, host and port, nothing after it."""
    if not _is_origin(text):
        raise _refused(text, "expected an origin such as https://desk.example.org, without a path")
    return text


def http_path(text: str) -> str:
    """Return the path of a page."""
    if not _is_path(text) or text in ("/", "/health"):
        raise ValueError("expected a path such as /metrics; / and /health are taken")
    return text


def subject(text: str) -> str:
    """Return a NATS subject without wildcards."""
    if not _is_subject(text) or not text.isprintable() or len(text) > 200:
        raise ValueError("expected a NATS subject such as trading.fills, without wildcards and spaces")
    return text


def path(text: str) -> Path:
    """Return a path of this machine; `~` is the home directory, a relative one starts at the working directory."""
    if not text or not text.isprintable():
        raise ValueError("expected a path")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError("expected a path; whose home directory this is, is not known here") from None


def variable(text: str) -> str:
    """Return the name of an environment variable; what could be the secret itself is refused and not shown."""
    if not _is_variable(text) or (len(text) > 40 and "_" not in text):
        raise NotShown("expected the name of an environment variable, not the secret itself")
    return text


def _refused(text: str, message: str) -> ValueError:
    return NotShown(message) if "@" in text or "=" in text else ValueError(message)

"""Secrets: values that never show themselves, and how text that may hold one is shown."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache

# Bounded, so that a text made of beginnings of URLs takes no longer than any other. People write @ and / into passwords
# as they are, so one ends at the last @. In an address of the web it ends before the first slash, as there may be an @
# in the path; only where none stands before it does it go on, unless what stands there is a port. An address of IPv6
# has colons of its own.
_USER = r"://(?!\[[0-9A-Fa-f:.]{2,45}\])[^\s\"'<>:@/]{0,256}"
_WEB_PASSWORD = re.compile(
    rf"((?:(?<=http)|(?<=https)|(?<=ws)|(?<=wss)){_USER}):"
    r"(?:[^\s\"'<>/?#]{0,1024}@|(?!\d{1,5}[/?#])[^\s\"'<>]{0,1024}@)"
)
_URL_PASSWORD = re.compile(rf"((?<!http)(?<!https)(?<!ws)(?<!wss){_USER}):[^\s\"'<>]{{0,1024}}@")
_LONGEST_SEARCHED = 4096
_NAMED_VALUE = re.compile(
    r"(?i)\b((?:ssl)?password|passwd|passphrase|secret|token|api_?key|signature|listen_?key)=[^\s&\"'<>,;]+"
)
_OWN_TOKEN = re.compile(r"\bam_[0-9a-f]{12}_[A-Za-z0-9_-]{8,112}")
_HEADER_VALUE = re.compile(
    r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-mbx-apikey|x-api-key)(['\"]?\s*[:=]\s*['\"]?)"
    r"(?:(?:bearer|basic|digest|token)\s+)?[^\s\"'<>,;]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+(?=[^\s\"'<>,;]*[0-9_.=/+-])[A-Za-z0-9._~+/=-]{8,1024}")
_HEADER_WORDS = ("authorization", "cookie", "apikey", "api-key", "bearer", "basic")
_SECRET_NAMES = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "secretkey", "privatekey", "accesskey",
    "authorization", "cookie", "credential", "signature", "listenkey",
)  # fmt: skip


class Purpose(Enum):
    """What secrets are for. A command asks for those of what it connects to, and can do without the others."""

    EXCHANGE = auto()
    DATABASE = auto()
    CACHE = auto()
    NATS = auto()
    CHANNELS = auto()
    TLS = auto()


EVERY_PURPOSE = frozenset(Purpose)


class Secret:
    """A text that only `reveal` gives away; equal secrets are equal, so that a reload sees a changed key."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the one call that needs it."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled or copied into files")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a key of this name usually holds a secret: `password`, `apiKey`, `X-MBX-APIKEY`; not `api_key_env`."""
    letters = "".join(filter(str.isalnum, name)).lower()
    return letters.removesuffix("s").endswith(_SECRET_NAMES)


def hide_passwords(text: str) -> str:
    """Return the text with `***` for passwords inside URLs, values such as `password=…`, headers with tokens, and
    tokens of our own.
    """
    if "@" in text:
        text = _WEB_PASSWORD.sub(r"\1:***@", _URL_PASSWORD.sub(r"\1:***@", text))
    if "=" in text:
        text = _NAMED_VALUE.sub(r"\1=***", text)
    if "am_" in text:
        text = _OWN_TOKEN.sub("am_***", text)
    lowered = text.lower()
    if any(word in lowered for word in _HEADER_WORDS):
        text = _BEARER.sub(r"\1 ***", _HEADER_VALUE.sub(r"\1\2***", text))
    return text


def shown(text: str, limit: int = 80) -> str:
    """Return a value as one quoted, printable, bounded piece of a line, without the passwords in it."""
    text = hide_passwords(text[:_LONGEST_SEARCHED])
    if len(text) > limit:
        text = text[:limit] + "…"
    return f'"{escaped(text)}"'


def escaped(text: str) -> str:
    """Return the text on one line: what does not print is written as an escape."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)

"""Parameters: what does a request say, and which of its bytes were signed? Everything here came from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote_to_bytes

from exchange_simulator.errors import VenueError

_SIGNATURE = re.compile(r"(?:^|&)signature=[^&]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DIGITS = re.compile(r"[0-9]{1,20}")
_MAX_PARAMETERS = 1000  # far more than any call takes


class Parameters(Mapping[str, str]):
    """The parameters of one request, decoded. A name that is in query and body counts as in the query."""

    def __init__(self, values: Mapping[str, str], signed: str = "") -> None:
        self._values = dict(values)
        self.signed = signed
        """The payload of the signature: query and body as they were sent, without the signature."""

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def text(self, name: str) -> str | None:
        """Return a parameter, None where it is absent or empty."""
        return self._values.get(name) or None

    def required(self, name: str) -> str:
        """Return a parameter that has to be there. Raises: VenueError −1102."""
        value = self.text(name)
        if value is None:
            raise malformed(name)
        return value

    def integer(self, name: str) -> int | None:
        """Return a whole number, None where it is absent. Raises: VenueError −1100."""
        value = self.text(name)
        return None if value is None else _integer(name, value)

    def required_integer(self, name: str) -> int:
        """Return a whole number that has to be there. Raises: VenueError −1102, −1100."""
        return _integer(name, self.required(name))

    def limited(self, name: str, default: int, most: int) -> int:
        """Return how many rows are asked for. Raises: VenueError −1130 beyond 1 to `most`."""
        value = self.integer(name)
        if value is None:
            return default
        if not 1 <= value <= most:
            raise VenueError(-1130, f"Data sent for parameter '{name}' is not valid.")
        return value

    def boolean(self, name: str) -> bool:
        """Return true or false, which has to be there. Raises: VenueError −1102."""
        value = self.required(name).lower()
        if value not in ("true", "false"):
            raise malformed(name)
        return value == "true"


def _integer(name: str, value: str) -> int:
    if not _DIGITS.fullmatch(value):
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(value)


def malformed(name: str) -> VenueError:
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def read_parameters(query: str, body: str) -> Parameters:
    """Decode the parameters of a request. Raises: VenueError −1100 bad escapes, −1101 twice the same name."""
    values = {**_decode(body), **_decode(query)}
    return Parameters(values, without_signature(query) + without_signature(body))


def without_signature(raw: str) -> str:
    return _SIGNATURE.sub("", raw).removeprefix("&")


def split_pairs(raw: str) -> list[tuple[str, str]]:
    """Return names and values in order, decoded. Raises: VenueError −1100 bad escapes, −1104 too many."""
    pairs = [pair for pair in raw.split("&", _MAX_PARAMETERS) if pair]
    if len(pairs) > _MAX_PARAMETERS:
        raise VenueError(-1104, "Not all sent parameters were read.")
    decoded = []
    for pair in pairs:
        name, _, value = pair.partition("=")
        decoded.append((_unescape(name), _unescape(value)))
    return decoded


def _decode(raw: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in split_pairs(raw):
        if name in values:
            raise VenueError(-1101, f"Duplicate values for parameter '{name}' detected.")
        values[name] = value
    return values


def _unescape(raw: str) -> str:
    if _BAD_ESCAPE.search(raw):
        raise VenueError(-1100, "Illegal characters found in a parameter.")
    try:
        return unquote_to_bytes(raw.replace("+", " ")).decode("utf-8")
    except UnicodeError:  # bytes that are no UTF-8, or surrogates that cannot be bytes
        raise VenueError(-1100, "Illegal characters found in a parameter.") from None

"""Faults: which of the catalogue are switched on, how often does each strike, and does it strike now?

Each fault draws from a generator of its own, so that the same seed gives the same strikes whatever else is on.
Nothing here changes the venue: what strikes is what leaves it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exchange_simulator.catalogue import GROUPS, KINDS

_COMMON = {"rate", "count", "seconds", "path", "account", "streams"}
_TEXTS = {"path", "account", "streams"}


class UnknownFault(ValueError):
    """What was to be set is not in the catalogue; the text says what is."""


@dataclass(slots=True)
class Fault:
    """A fault that is on. It strikes with probability `rate` each time, at most `count` times, for `seconds`."""

    name: str
    rate: float
    settings: Mapping[str, float]
    count: int | None = None
    seconds: float | None = None
    path: str = ""
    account: str = ""
    streams: str = ""
    struck: int = 0
    since_ms: int | None = field(default=None, repr=False)  # when it was first asked about

    def __getitem__(self, name: str) -> int:
        return int(self.settings[name])

    def describe(self) -> dict[str, Any]:
        said: dict[str, Any] = {"rate": self.rate, **self.settings, "struck": self.struck}
        for name in ("count", "seconds", "path", "account", "streams"):
            if getattr(self, name) not in (None, ""):
                said[name] = getattr(self, name)
        return said


class Faults:
    """The faults of one exchange. They can be set and cleared at any time."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._faults: dict[str, Fault] = {}
        self._generators: dict[str, random.Random] = {}
        self.struck: dict[str, int] = {}
        """How often each has struck since the beginning, those that were cleared included."""

    def set(self, name: str, **settings: Any) -> None:
        """Switch on a fault or a group; without a `rate` a fault strikes each time, a group at the usual rates.

        rate: 0 to 1. count: how often at most. seconds: for how long, from when it first could strike. path: only
        requests below it. account: only this API key. streams: "user" or "market", only these sockets.
        Raises: UnknownFault naming what is known.
        """
        if name in GROUPS:
            factor = _number(name, "rate", settings.pop("rate", 1))
            for member in GROUPS[name]:
                self.set(member, **settings, rate=min(1.0, KINDS[member].rate * factor))
            return
        if name not in KINDS:
            raise UnknownFault(f"fault {name!r} is not known; expected one of {', '.join([*KINDS, *GROUPS])}")
        self._faults[name] = _fault(name, settings)

    def clear(self, name: str = "all") -> None:
        """Switch off a fault, a group, or all of them. Raises: UnknownFault."""
        if name == "all":
            self._faults.clear()
            return
        if name not in KINDS and name not in GROUPS:
            raise UnknownFault(f"fault {name!r} is not known; expected one of {', '.join([*KINDS, *GROUPS])}")
        for member in GROUPS.get(name, (name,)):
            self._faults.pop(member, None)

    def describe(self) -> dict[str, Any]:
        """Return the faults that are on, with their settings and how often they struck."""
        return {name: fault.describe() for name, fault in self._faults.items()}

    def parse(self, text: str) -> None:
        """Switch on what a command line says: `drop=0.01,delay=0.05:ms=300,half_open,rest`.

        A name alone has its usual rate. Raises: UnknownFault.
        """
        for item in filter(None, (part.strip() for part in text.split(","))):
            head, *rest = item.split(":")
            name, equals, rate = head.partition("=")
            settings: dict[str, Any] = dict(_pair(name, part) for part in rest)
            if equals:
                settings["rate"] = rate
            elif name in KINDS:
                settings.setdefault("rate", KINDS[name].rate)
            self.set(name, **settings)

    def any_on(self, names: Iterable[str]) -> bool:
        """Say whether any of these is on; cheaper than drawing for each."""
        return bool(self._faults) and any(name in self._faults for name in names)

    def get(self, name: str, now_ms: int, *, account: str = "", path: str = "", streams: str = "") -> Fault | None:
        """Return a fault that is on and meant for this, without drawing."""
        fault = self._faults.get(name)
        if fault is None:
            return None
        if fault.since_ms is None:
            fault.since_ms = now_ms
        over = fault.seconds is not None and now_ms - fault.since_ms >= fault.seconds * 1000
        if over or (fault.count is not None and fault.struck >= fault.count):
            del self._faults[name]
            return None
        meant = (not fault.account or fault.account == account) and path.startswith(fault.path)
        return fault if meant and _is_for(fault, streams) else None

    def strikes(self, name: str, now_ms: int, *, account: str = "", path: str = "", streams: str = "") -> Fault | None:
        """Return the fault if it strikes now, and count that."""
        fault = self.get(name, now_ms, account=account, path=path, streams=streams)
        if fault is None or (fault.rate < 1 and self.generator(name).random() >= fault.rate):
            return None
        fault.struck += 1
        self.struck[name] = self.struck.get(name, 0) + 1
        return fault

    def generator(self, name: str) -> random.Random:
        """Return the random numbers of one fault."""
        generator = self._generators.get(name)
        if generator is None:
            generator = random.Random(f"{self._seed}:{name}")  # noqa: S311  # repeatable on purpose
            self._generators[name] = generator
        return generator


def _is_for(fault: Fault, streams: str) -> bool:
    """Frames of market data are spared unless they are asked for; sockets are not."""
    if not fault.streams:
        return streams != "market" or KINDS[fault.name].place != "frame"
    return fault.streams == streams


def _fault(name: str, settings: Mapping[str, Any]) -> Fault:
    kind = KINDS[name]
    for key in settings:
        if key not in _COMMON and key not in kind.defaults:
            known = ", ".join(sorted([*_COMMON, *kind.defaults]))
            raise UnknownFault(f"fault {name!r} has no setting {key!r}; expected one of {known}")
    given = {key: _number(name, key, value) for key, value in settings.items() if key not in _TEXTS}
    texts = {key: value for key, value in settings.items() if key in _TEXTS}
    for key, value in texts.items():
        if not isinstance(value, str) or (key == "streams" and value not in ("", "user", "market")):
            expected = "user or market" if key == "streams" else "text"
            raise UnknownFault(f"fault {name!r}: {key} was {value!r}, expected {expected}")
    rate = given.get("rate", 1.0)
    if rate > 1:
        raise UnknownFault(f"fault {name!r}: rate was {rate}, expected 0 to 1")
    own = {key: value for key, value in given.items() if key in kind.defaults}
    count = given.get("count")
    return Fault(
        name, rate, {**kind.defaults, **own}, None if count is None else int(count), given.get("seconds"),
        texts.get("path", ""), texts.get("account", ""), texts.get("streams", ""),
    )  # fmt: skip


def _number(name: str, key: str, value: Any) -> float:
    least = -1e12 if (name, key) == ("clock_skew", "ms") else 0  # a clock may also be behind
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not least <= number <= 1e12:
        raise UnknownFault(f"fault {name!r}: {key} was {value!r}, expected a number from {least:.0f}")
    return number


def _pair(name: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UnknownFault(f"fault {name!r}: {text!r} was not understood, expected setting=value")
    return key, value

"""Search: may something be missing, and when is it looked for? At once, and ever more slowly while it does not help."""

from __future__ import annotations

LONGEST_PAUSE_SECONDS = 60.0
"""Between searches for what comes again and again."""

FORGIVEN_SECONDS = 600.0
"""After so long without it, what came again and again is new again."""


class Patience:
    """How soon a cause that did not go away may make for another search."""

    def __init__(self, *, first_seconds: float = 0.0, longest_seconds: float = LONGEST_PAUSE_SECONDS) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._began = float("-inf")
        self._pause = first_seconds

    def due(self, now: float) -> float:
        """Return when the next search for this cause may begin."""
        if now - self._began > self._pause + FORGIVEN_SECONDS:
            self.reset()
        return max(now, self._began + self._pause)

    def begin(self, now: float) -> None:
        """Note a search."""
        self._began = now
        self._pause = min(max(self._pause * 2, 1.0), self._longest_seconds)

    def reset(self) -> None:
        """Let the next cause be a new one."""
        self._pause = self._first_seconds


class Search:
    """What is wanted of the next backfill. Times are those of the clock that measures durations."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.attempt = 0
        """How many searches the present disagreements have outlasted."""
        self._due = 0.0
        self._wanted = 0
        self._wanted_at_once = 0
        self._begun = 0
        self._patiences: set[Patience] = set()

    def is_due(self, now: float) -> bool:
        """Whether to search now."""
        return self.reason is not None and now >= self._due

    def want(self, reason: str, now: float, *, patience: Patience | None = None) -> None:
        """Ask for a search: at once, or as soon as `patience` allows."""
        due = now if patience is None else patience.due(now)
        self._due = due if self.reason is None else min(self._due, due)
        self.reason = self.reason or reason
        self._wanted += 1
        if patience is None:
            self._wanted_at_once = self._wanted
        else:
            self._patiences.add(patience)

    def begin(self, now: float) -> None:
        """Note that what was wanted so far is being looked for."""
        self._begun = self._wanted
        for patience in self._patiences:
            patience.begin(now)
        self._patiences.clear()

    def end(self, now: float) -> bool:
        """Note that all of it was looked for; return whether nothing that must be, was asked for meanwhile."""
        self.attempt += 1
        if self._wanted == self._begun:
            self.reason = None
        else:
            is_at_once = self._wanted_at_once > self._begun
            self._due = now if is_at_once else min(patience.due(now) for patience in self._patiences)
        return self._wanted_at_once <= self._begun

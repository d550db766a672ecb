"""Findings: what one check of `doctor` found, and what to do about it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """How a check ended. A warning is worth reading; what FAILED keeps the service from working as configured."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


class Finding(NamedTuple):
    """The result of one check; `account` is None where it concerns all of them."""

    account: str | None
    check: str
    outcome: Outcome
    found: str
    advice: str | None = None

    @property
    def line(self) -> str:
        """Say it in one line."""
        where = self.check if self.account is None else f"{self.account}: {self.check}"
        end = "" if self.advice is None else f" → {self.advice}"
        return " ".join(f"{self.outcome:<8} {where:<22} {self.found}{end}".split("\n"))

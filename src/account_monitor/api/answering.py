"""Answering: what the handlers of REST share: what they are given, and how they describe their refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation

from account_monitor.api import problems
from account_monitor.api.access import Caller
from account_monitor.api.problems import Kind, Problem, Refused
from account_monitor.monitor.desk import Desk, Turn
from account_monitor.monitor.monitor import Monitor

MAX_WAITING = 8
"""Questions that may wait for one turn: each takes up to seconds."""

GivenCaller = NamedDependency[SkipValidation[Caller]]
"""Who asks."""
GivenDesk = NamedDependency[SkipValidation[Desk]]
"""What they may see of the desk."""
GivenMonitor = NamedDependency[SkipValidation[Monitor]]


def explained(*kinds: Kind) -> dict[int, ResponseSpec]:
    """Describe the problems that an address may answer with."""
    described: dict[int, list[Kind]] = {}
    for kind in kinds:
        described.setdefault(kind.status, []).append(kind)
    return {
        status: ResponseSpec(
            Problem,
            generate_examples=False,
            description="; ".join(f"{kind.title} (`{kind.name}`)" for kind in group),
            media_type=problems.MEDIA_TYPE,
        )
        for status, group in described.items()
    }


EVERYWHERE = (problems.BODY_TOO_LARGE, problems.WRONG_HOST)
AT_THE_DOOR = (problems.UNAUTHENTICATED, problems.FORBIDDEN, problems.TOO_MANY_REQUESTS)
BY_FRAMEWORK = (*AT_THE_DOOR, problems.BAD_PARAMETER, problems.INTERNAL, problems.STARTING)
OF_ALL = explained(*EVERYWHERE, *BY_FRAMEWORK)
OF_ACCOUNT = explained(
    *EVERYWHERE, *BY_FRAMEWORK, problems.UNKNOWN_ACCOUNT, problems.FOLDING, problems.HELD_ELSEWHERE, problems.BUSY
)


@asynccontextmanager
async def in_turn(turn: Turn) -> AsyncIterator[None]:
    """Let one question after the other be answered. Raises: Refused where too many wait."""
    if turn.waiting >= MAX_WAITING:
        raise Refused(problems.BUSY, f"{turn.waiting} long questions are waiting already")
    async with turn:
        yield

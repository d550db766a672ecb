"""Every address of the description, asked with what fits it and with what does not: no defect, nothing undocumented.

schemathesis makes the questions from `/openapi.json`; they are the same in every run.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CheckFunction
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.trading_desk import TradingDesk, get, trading_desk

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EXAMPLES = 6
"""For each address, of questions that fit and of questions that do not."""

CHECKS: list[CheckFunction] = [
    status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance,
]  # fmt: skip


async def test_no_question_finds_a_defect(tmp_path: Path) -> None:
    async with trading_desk(tmp_path) as desk:
        await prepare(desk)
        description = await get(desk.doors.http_url + "/openapi.json")

        asked = await asyncio.to_thread(ask_everything, description, desk.doors.http_url)

    assert asked.keys() == {(path, method) for path, methods in description["paths"].items() for method in methods}
    assert min(asked.values()) >= 1, asked


async def prepare(desk: TradingDesk) -> None:
    """Trade a little, so that there is something to be asked for."""
    await desk.open()
    await desk.trade(desk.fill(), desk.fill("SELL", "0.4", at="120"), desk.fill(symbol="ETHUSDT", fee=None))
    await desk.remember()
    desk.desk.wait_for("start", None)


def ask_everything(description: dict[str, Any], url: str) -> dict[tuple[str, str], int]:
    """Return how often each address was asked."""
    asked: dict[tuple[str, str], int] = {}
    schema = schemathesis.openapi.from_dict(description)
    with requests.Session() as session:
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            key = (operation.path, operation.method)
            asked[key] = sum(
                ask(operation, mode, url, session)
                for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
                if mode is schemathesis.GenerationMode.POSITIVE or takes_anything(operation)
            )
    return asked


def takes_anything(operation: Any) -> bool:
    """Whether there is something that could be given wrongly."""
    return bool(operation.query or operation.path_parameters or operation.body)


def ask(operation: Any, mode: schemathesis.GenerationMode, url: str, session: requests.Session) -> int:
    """Ask one address; return how often."""
    count = 0

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        nonlocal count
        count += 1
        response = case.call(base_url=url, session=session)
        assert response.status_code < 500, (case.as_curl_command(), response.text)
        case.validate_response(response, checks=CHECKS)

    check()
    return count

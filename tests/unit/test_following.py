"""Following the copies of journals, where no store is needed to see it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from account_monitor.ledger.account import USD_ASSETS
from account_monitor.stores.checkpoints import Folding
from account_monitor.stores.history import following
from account_monitor.stores.history.succession import Outcome, Succession
from account_monitor.stores.journal import Journal


async def test_closing_while_a_journal_is_begun_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Journal.open(tmp_path, "x", clock=lambda: 1).close()

    class History:
        description = "history"

        async def replica(self, account: str) -> object:
            return object()

        async def news(self, ends: object) -> dict[str, Any]:
            return {}

    async def succeed(*_: object, **__: object) -> Succession:
        return Succession(Outcome.KEPT)

    whole = following._Followed

    def slow(*told: Any, **more: Any) -> Any:
        time.sleep(0.3)
        return whole(*told, **more)

    monkeypatch.setattr(following, "succeed", succeed)
    monkeypatch.setattr(following, "_Followed", slow)
    made = following.Following(History(), tmp_path, Folding(USD_ASSETS), clock=lambda: 1)  # type: ignore[arg-type]
    await made.follow(["x"])
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0.1)
    await made.close()
    running.cancel()
    await asyncio.wait([running])

    left = list(made._followed.values())
    for each in left:
        each.close()
    assert left == []

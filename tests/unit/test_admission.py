"""Admission: a file system that does not answer ends neither expiry nor the process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from account_monitor import admission
from account_monitor.admission import Admission
from account_monitor.api.access import Caller
from account_monitor.config import AuthSettings
from account_monitor.monitor.desk import Desk
from account_monitor.stores.tokens_file import Stamp, TokensFile
from account_monitor.tokens import new_token

NOW_MS = 1_700_000_000_000


async def test_a_file_system_that_hangs_is_told_of_and_what_was_revoked_meanwhile_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = TokensFile(tmp_path / "tokens.json")
    token, text = new_token("bot", "read", now_ms=NOW_MS, by="ann")
    file.add(token)
    desk = Desk(lambda: NOW_MS, "0")
    held = Admission(AuthSettings(tokens_file=file.path), desk)
    await held.open()
    answers, stamp = threading.Event(), TokensFile.stamp

    def hanging(self: TokensFile) -> Stamp | None:
        answers.wait()
        return stamp(self)

    monkeypatch.setattr(TokensFile, "stamp", hanging)
    monkeypatch.setattr(admission, "FILE_SECONDS", 0.1)
    monkeypatch.setattr(admission, "LOOK_SECONDS", 0.05)
    caller: Caller = held.access.caller(text, "192.0.2.1")
    running = asyncio.create_task(held.run())
    try:
        await asyncio.sleep(0.5)
        assert "does not answer" in desk.health.checks["tokens"].message
        assert threading.active_count() < 10
        assert held.access.is_valid(caller)
        file.revoke("bot", now_ms=NOW_MS, by="ann")
        answers.set()
        await asyncio.wait_for(held.access.ended(caller), 2)
    finally:
        answers.set()
        running.cancel()

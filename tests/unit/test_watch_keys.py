"""Keys of `status --watch`, and how often it asks: as many as are typed, and no more often than it says."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest

from account_monitor.cli import run
from account_monitor.cli.answers import NoAnswer
from account_monitor.cli.watch import FRAME_SECONDS, Watch
from account_monitor.cli.watch_screen import Frame


def watching(typed: bytes) -> Any:
    """Return one whose reader has typed this."""
    made: Any = Watch.__new__(Watch)
    keys, typing = os.pipe()
    os.write(typing, typed)
    os.close(typing)
    made._terminal, made._skipped, made._news = SimpleNamespace(keys=keys), 0, asyncio.Event()
    made.ended = []
    made.end = made.ended.append
    return made


@pytest.mark.parametrize(
    ("typed", "skipped", "ended"),
    [
        (b"\x1b[B\x1b[B\x1b[B", 3, []),
        (b"jj\x1b[A", 1, []),
        (b"jq", 1, [0]),
        (b" x\x1b[6~", 20, []),
        (b"", 0, [0]),
    ],
)
async def test_all_keys_count_that_were_typed_at_once(typed: bytes, skipped: int, ended: list[int]) -> None:
    made = watching(typed)
    made.read_key()
    os.close(made._terminal.keys)
    assert (made._skipped, made.ended) == (skipped, ended)


async def test_a_question_that_is_not_answered_is_not_asked_again_at_once() -> None:
    made: Any = Watch.__new__(Watch)
    made._begun, made._link = ["b"], SimpleNamespace(lost_ms=None)
    asked = 0

    async def look() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise NoAnswer("503: the service is starting")

    made._look = look
    asking = asyncio.create_task(made._ask())
    await asyncio.sleep(0.3)
    asking.cancel()
    assert asked == 1


async def test_drawing_ends_also_where_news_come_in_the_turn_that_cancels_it() -> None:
    made: Any = Watch.__new__(Watch)
    made._news, made._is_over, made._skipped = asyncio.Event(), asyncio.Event(), 0
    made._terminal = SimpleNamespace(size=lambda: os.terminal_size((80, 24)), show=lambda _: None)
    made._frame = lambda: Frame("http://127.0.0.1:8080", 0, None, "", (), ())
    drawing = asyncio.create_task(made._draw())
    await asyncio.sleep(2 * FRAME_SECONDS)  # it waits for news
    made._news.set()
    drawing.cancel()
    ended, _ = await asyncio.wait([drawing], timeout=5)
    made._is_over.set()
    assert ended == {drawing}


async def test_whoever_asks_twice_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = Watch.__new__(Watch)
    happened: list[object] = []
    made._is_over = asyncio.Event()
    made._terminal = SimpleNamespace(keys=None, leave=lambda: happened.append("left"))
    monkeypatch.setattr(os, "_exit", happened.append)

    made.end(0)
    assert (made._code, happened) == (0, [])
    made.end(130)
    assert happened == ["left", 130]

    def leave() -> None:
        raise OSError

    made._terminal.leave = leave  # the terminal is gone
    with pytest.raises(OSError):  # noqa: PT011  # which nobody sees: the process ended
        made.end(129)
    assert happened[-1] == 129


def test_what_steers_a_terminal_is_told_as_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "\x1b]0;owned\x07"]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\\x1b]0;owned\\x07" in said

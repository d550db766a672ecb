"""`status --watch` in a terminal: the figures as they change, until `q` or Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final, TypeVar

import click
from rich.console import RenderableType

from account_monitor.cli.answers import NoAnswer
from account_monitor.cli.book import Book
from account_monitor.cli.link import Link
from account_monitor.cli.options import check_way, given_token, tls_context
from account_monitor.cli.questions import Questions
from account_monitor.cli.screen import Elsewhere
from account_monitor.cli.terminal import Terminal
from account_monitor.cli.watch_screen import Frame, Shown, draw
from account_monitor.clock import now_ms

FRAME_SECONDS: Final = 0.1
"""The shortest time between two frames."""

IDLE_SECONDS: Final = 1.0
"""After that a frame is made even if nothing was told: the time since when all is old goes on."""

ASK_SECONDS: Final = 3.0
"""How often it is asked for what the stream does not tell: what is not well, and who looks after an alert."""

AT_ONCE: Final = 5
"""Of so many accounts at a time."""

_SCROLLING: Final = {b"\x1b[A": -1, b"k": -1, b"\x1b[B": 1, b"j": 1, b"\x1b[5~": -10, b"\x1b[6~": 10, b" ": 10}

_KEYS: Final = re.compile(rb"\x1b\[[AB]|\x1b\[[56]~|[kj qQ]")
"""Several may have been typed since the last look; what is no key of ours is passed over."""

T = TypeVar("T")


class Watch:
    """What is watched, from its beginning to its end."""

    def __init__(self, questions: Questions, account: str | None, terminal: Terminal) -> None:
        self._questions = questions
        self._terminal = terminal
        self._book = Book()
        self._news = asyncio.Event()
        self._is_over = asyncio.Event()
        self._code = 0
        self._warnings: Sequence[RenderableType] = ()
        self._elsewhere: Sequence[Elsewhere] = ()
        self._skipped = 0
        self._turn = 0
        self._begun: list[str] = []
        """Accounts of which a snapshot came: their last fills have to be asked for."""
        url = questions.url
        token = given_token()
        if token is not None:
            check_way(url)
        tls = tls_context() if url.startswith("https://") else None
        self._link = Link(url, account, self._book, clock=now_ms, token=token, tls=tls, changed=self._change)
        self._context = click.get_current_context()

    async def run(self) -> int:
        """Watch until somebody ends it; return the exit code. Raises: CommandFailed."""
        with ExitStack() as stack:
            stack.enter_context(_Signals(self))
            self._terminal.enter()
            stack.callback(self._terminal.leave)
            parts = [asyncio.create_task(part) for part in (self._link.run(), self._ask(), self._draw())]
            over = asyncio.create_task(self._is_over.wait())
            try:
                done, _ = await asyncio.wait([*parts, over], return_when=asyncio.FIRST_COMPLETED)
                for task in done - {over}:
                    task.result()
            finally:
                for task in (*parts, over):
                    task.cancel()
                await asyncio.gather(*parts, over, return_exceptions=True)
        return self._code

    # -- what happens ------------------------------------------------------------------------------------------------

    def end(self, code: int) -> None:
        """Let it be over; whoever asks a second time is not kept waiting, whatever hangs."""
        if self._is_over.is_set():
            try:
                self._terminal.leave()
            finally:  # also where the terminal is gone
                os._exit(code)
        self._code = code
        self._is_over.set()
        if self._terminal.keys is not None:
            asyncio.get_running_loop().remove_reader(self._terminal.keys)

    def pause(self) -> None:
        """Give the terminal back while the shell stops the program, and take it again when it goes on."""
        self._terminal.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._terminal.enter()
        self._news.set()

    def draw_anew(self) -> None:
        """Draw as soon as possible: the terminal has another size."""
        self._news.set()

    def read_key(self) -> None:
        """Read what was typed."""
        assert self._terminal.keys is not None  # who asked to be called has one
        typed = os.read(self._terminal.keys, 64)
        for key in _KEYS.findall(typed) if typed else [b"q"]:  # nothing: the terminal is gone
            if key in b"qQ":
                self.end(0)
                return
            self._skipped = max(0, self._skipped + _SCROLLING[key])
        self._news.set()

    def _change(self, begun: str | None) -> None:
        if begun is not None:
            self._begun.append(begun)
        self._news.set()

    # -- parts -------------------------------------------------------------------------------------------------------

    async def _draw(self) -> None:
        while not self._is_over.is_set():
            self._news.clear()
            size = self._terminal.size()
            drawn = draw(self._frame(), size.columns, size.lines)
            self._skipped = drawn.skipped
            self._terminal.show(drawn.lines)
            await asyncio.sleep(FRAME_SECONDS)
            with suppress(TimeoutError):  # nothing is new but the time
                # Not `wait_for`, which in Python 3.11 forgets that it was cancelled where news come in the same turn.
                async with asyncio.timeout(IDLE_SECONDS - FRAME_SECONDS):
                    await self._news.wait()

    def _frame(self) -> Frame:
        told = self._book.told
        shown = [
            Shown(page.report(), list(page.alerts.values()), page.fills, is_old=name not in told)
            for name, page in sorted(self._book.pages.items())
        ]
        lost_ms, why = self._link.lost_ms, self._link.why
        return Frame(self._questions.url, now_ms(), lost_ms, why, self._warnings, shown, self._skipped, self._elsewhere)

    async def _ask(self) -> None:
        """Ask every few seconds, and soon after a snapshot, for what the stream does not tell."""
        while True:
            try:
                await self._look()
            except NoAnswer:  # the link says since when
                await asyncio.sleep(ASK_SECONDS)
                continue
            for _ in range(int(ASK_SECONDS / FRAME_SECONDS)):
                if self._begun and self._link.lost_ms is None:
                    break
                await asyncio.sleep(FRAME_SECONDS)

    async def _look(self) -> None:
        asked = self._questions
        names, self._elsewhere = await self._asked(asked.accounts)
        self._book.keep(names)
        known = [name for name in names if name in self._book.pages]
        self._begun = [name for name in self._begun if name in known]
        turn = [known[(self._turn + place) % len(known)] for place in range(min(AT_ONCE, len(known)))]
        self._turn += AT_ONCE
        for name in dict.fromkeys([*self._begun, *turn]):
            await self._look_at(name)
        # Last: an alarm is not said twice once the alerts of its account are known.
        with_alerts = {name for name, page in self._book.pages.items() if page.alerts}
        self._warnings = await self._asked(lambda: asked.warnings(with_alerts))
        self._news.set()

    async def _look_at(self, name: str) -> None:
        page = self._book.pages[name]
        heard = page.alerts_heard
        firing = await self._asked(partial(self._questions.firing, name))
        if page.alerts_heard == heard:  # else the stream knows better, until the next time
            page.alerts = {alert.id: alert for alert in firing}
        if name in self._begun:
            until = page.report().timestamp
            page.add_fills(await self._asked(partial(self._questions.last_fills, name, until)))
            self._begun.remove(name)

    async def _asked(self, question: Callable[[], T]) -> T:
        """Ask beside the drawing, where the options of the command are known, too.

        Not in a pool: whoever quits while a service hangs would wait for its answer.
        """
        answer: Future[T] = Future()
        answer.set_running_or_notify_cancel()  # who does not wait for it any more cancels nothing

        def ask() -> None:
            try:
                with self._context.scope(cleanup=False):
                    answer.set_result(question())
            except Exception as error:  # noqa: BLE001  # whoever asked is told
                answer.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        return await asyncio.wrap_future(answer)


class _Signals:
    """Who is told of signals and keys while it is watched."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGINT: lambda: watch.end(130),
            signal.SIGTERM: lambda: watch.end(143),
            signal.SIGHUP: lambda: watch.end(129),
            signal.SIGQUIT: lambda: watch.end(131),
            signal.SIGTSTP: watch.pause,
            signal.SIGWINCH: watch.draw_anew,
        }

    def __enter__(self) -> None:
        for number, handler in self._handlers.items():
            self._loop.add_signal_handler(number, handler)
        if self._watch._terminal.keys is not None:
            self._loop.add_reader(self._watch._terminal.keys, self._watch.read_key)

    def __exit__(self, *_: object) -> None:
        for number in self._handlers:
            self._loop.remove_signal_handler(number)
        if self._watch._terminal.keys is not None:
            self._loop.remove_reader(self._watch._terminal.keys)


def watch(questions: Questions, account: str | None) -> int:
    """Watch in the terminal until it is ended; return the exit code. Raises: CommandFailed."""
    keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    terminal = Terminal(sys.stdout.fileno(), keys)

    async def watched() -> int:
        return await Watch(questions, account, terminal).run()

    return asyncio.run(watched())

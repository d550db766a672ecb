"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it.

Hours of reconnects, listen keys and funding pass in milliseconds, and the same program takes the same steps every time:

    def test_a_day_of_keep_alives() -> None:
        async def day() -> int:
            exchange = Exchange(clock=clock_ms)
            await asyncio.sleep(24 * 3600)
            return clock_ms()

        assert run_virtual(day(), start_ms=0) == 24 * 3_600_000

Everything that asks the loop for the time lives in virtual time: asyncio.sleep, asyncio.timeout, call_later,
loop.time(). Whatever wants milliseconds since 1970 is given `clock_ms`, or `loop.clock_ms` where another thread asks.

What runs in real threads (a journal's writer, asyncio.to_thread) takes no virtual time: while it works, the clock
stands still and the loop really waits. Work that is handed to an executor is noticed by itself; work that is handed to
a thread of one's own, which answers with call_soon_threadsafe, is named by whoever waits for it:

    class InstantJournal:
        async def append(self, deliveries, positions=()):
            with busy():
                return await self._journal.append(deliveries, positions)

Without that the clock runs on meanwhile, by as much as the thread is slow: the test would not be repeatable.

What is not for this loop: real sockets and processes (their data would come at any virtual moment), and the clocks of
the `time` module. A wait that nothing can end (no timer, nothing busy) raises `Stalled` instead of hanging. Iterating
over sets of tasks, as asyncio.wait returns them, is as unordered here as anywhere.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_MS = 1_790_000_000_000
"""When virtual time begins unless somebody says otherwise: 2026-09-21 14:13:20 UTC."""

_LONGEST_WORK_SECONDS = 60.0  # real ones: a thread that says nothing for so long is stuck
_RESOLUTION_SECONDS = 1e-6  # timers that are closer together are one moment; floats are exact to this for 100 years


class Stalled(Exception):
    """Everything waits, and nothing is there that could end it. The text names the tasks and where they wait."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, see above. `jumps` counts how often the clock was moved."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self.jumps = 0
        self._virtual_seconds = 0.0
        self._start_ms = start_ms
        self._busy = 0
        super().__init__(_VirtualSelector(self))
        self._clock_resolution = _RESOLUTION_SECONDS

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._virtual_seconds

    def clock_ms(self) -> int:
        """Return virtual milliseconds since 1970-01-01 UTC; any thread may ask."""
        return self._start_ms + int(self._virtual_seconds * 1000 + 0.5)

    @property
    def is_busy(self) -> bool:
        """Whether real work is under way, for which the clock stands still."""
        return self._busy > 0

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Hold the clock while real work is under way whose end wakes the loop."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run it in a thread, and hold the clock until the loop has its result."""
        future = super().run_in_executor(executor, func, *args)
        self._busy += 1
        future.add_done_callback(self._finish)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """End the threads of the executor, which is real work too."""
        with self.busy():
            await super().shutdown_default_executor()

    def jump(self, seconds: float) -> None:
        """Move the clock; the selector does, when there is nothing else to do."""
        self._virtual_seconds += seconds
        self.jumps += 1

    def _finish(self, _: object) -> None:
        self._busy -= 1


class _VirtualSelector(selectors.DefaultSelector):
    """Where a loop would sleep. Only the loop's own self-pipe is expected in it: threads wake the loop through that."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; when that is nothing, move the clock to the next timer, or wait for real work."""
        if timeout is not None and timeout <= 0:
            return super().select(0) if self._loop.is_busy else []
        if self._loop.is_busy:
            events = super().select(_LONGEST_WORK_SECONDS)
            if not events:
                raise Stalled(f"a thread has been working for {_LONGEST_WORK_SECONDS:g} real seconds")
            return events
        # While nothing is busy no thread has anything to say, and a system call for each timer is what costs most.
        if timeout is None:
            if events := super().select(0):
                return events
            raise Stalled(f"no timer, nothing busy, and these wait: {_waiting(self._loop)}")
        self._loop.jump(timeout)
        return []


def _waiting(loop: asyncio.AbstractEventLoop) -> str:
    return "; ".join(sorted(_place(task) for task in asyncio.all_tasks(loop))) or "nobody"


def _place(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    where = f" at {frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else ""
    return f"{task.get_name()} in {getattr(task.get_coro(), '__qualname__', '?')}{where}"


def run_virtual(main: Coroutine[Any, Any, T], *, start_ms: int = START_MS) -> T:
    """Run a coroutine to its end in virtual time that begins at `start_ms`, and return its result.

    What it leaves running is cancelled, as asyncio.run does. Raises: Stalled when everything waits for ever.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(start_ms)) as runner:
        return runner.run(main)


def virtual_loop() -> VirtualTimeLoop:
    """Return the loop in which the caller runs, which has to be a virtual one."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop), "this needs run_virtual"
    return loop


def clock_ms() -> int:
    """Return virtual milliseconds since 1970-01-01 UTC: the clock to give to whatever runs inside run_virtual."""
    return virtual_loop().clock_ms()


@contextmanager
def busy() -> Iterator[None]:
    """Hold the clock of the running loop while real work is under way; without a virtual loop it does nothing."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        yield
        return
    with loop.busy():
        yield

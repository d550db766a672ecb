"""Renderer: makes what takes long of a view, in a thread of its own, once for all who wait for it.

The threads that asyncio lends are for fills, journals, tokens and alerts, which must never wait behind readers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.views import View

P = ParamSpec("P")
T = TypeVar("T")


class _Made(NamedTuple):
    """What was made of a view."""

    view: View
    what: Any


class _Rendering(Generic[T]):
    """A rendering that is waited for; `view` is None until it begins."""

    def __init__(self) -> None:
        self.view: View | None = None
        self.task: asyncio.Task[T]

    def is_new_enough(self, view: View) -> bool:
        """Whether it may be had by who asks while `view` is the present one."""
        return self.view is None or self.view is view


class Renderer:
    """One for all doors. It works on one rendering at a time: two would only take the interpreter from the fills."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="renderer")
        self._turn = asyncio.Lock()
        self._made: WeakKeyDictionary[Monitor, dict[Callable[[View], Any], _Made]] = WeakKeyDictionary()
        self._renderings: WeakKeyDictionary[Monitor, dict[Callable[[View], Any], _Rendering[Any]]] = WeakKeyDictionary()

    async def of(self, monitor: Monitor, make: Callable[[View], T], *, many: int) -> T:
        """Return what `make` makes of a view that is not older than the question.

        Whoever waits when a rendering begins gets that one, though the view has moved on when it ends. `make` also
        tells what is made from everything else, so that it must be the same object each time. A view of fewer than
        `many` positions does not need the thread.
        """
        view = monitor.view
        made = self._made.get(monitor, {}).get(make)
        if made is not None and made.view is view:
            what: T = made.what
            return what
        if len(view.positions) < many:
            return self._keep(monitor, make, view, make(view))
        return await asyncio.shield(self._rendering(monitor, make).task)  # others wait for the same

    async def run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Return what a function returns that takes long, once it has its turn in the thread."""
        async with self._turn:
            return await self._in_thread(lambda: function(*arguments, **named))

    def close(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _rendering(self, monitor: Monitor, make: Callable[[View], T]) -> _Rendering[T]:
        """Return the rendering that is to be waited for: the one under way, or the one after it."""
        known = self._renderings.setdefault(monitor, {})
        rendering = known.get(make)
        if rendering is None or not rendering.is_new_enough(monitor.view):
            rendering = known[make] = _Rendering()
            rendering.task = asyncio.create_task(self._render(rendering, monitor, make), name="rendering")
        return rendering

    async def _render(self, rendering: _Rendering[T], monitor: Monitor, make: Callable[[View], T]) -> T:
        try:
            async with self._turn:
                view = rendering.view = monitor.view
                what = await self._in_thread(lambda: make(view))
            return self._keep(monitor, make, view, what)
        finally:
            known = self._renderings[monitor]
            if known.get(make) is rendering:
                del known[make]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _keep(self, monitor: Monitor, make: Callable[[View], T], view: View, what: T) -> T:
        self._made.setdefault(monitor, {})[make] = _Made(view, what)
        return what

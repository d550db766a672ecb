"""Reading: the history is asked in a thread with an event loop of its own, for thousands of rows take a while."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from account_monitor.monitor.ports import FillPage, FillQuery, PnLHistory, PnLQuery
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.history.verification import verify_oldest
from account_monitor.stores.journal_reader import open_reader

T = TypeVar("T")


class HistoryReader:
    """Implements `monitor.ports.History`. The thread begins with the first question."""

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread

    async def pnl(self, query: PnLQuery) -> PnLHistory:
        """Return the buckets of a query. Raises: HistoryUnavailable."""
        return await self._ask(lambda: self._store.pnl(query))

    async def fills(self, account: str, query: FillQuery, *, until: int) -> FillPage:
        """Return a page of the fills whose last record is up to a sequence. Raises: HistoryUnavailable."""
        return await self._ask(lambda: self._store.fills(account, query, until=until))

    async def prove(self, journal: Path, until: int) -> None:
        """Prove that the history holds the oldest entries of a journal, up to one.

        Raises: HistoryUnavailable; JournalError and its kinds.
        """

        async def prove() -> None:
            with open_reader(journal) as reader:
                await verify_oldest(self._store, reader, until)

        await self._ask(prove)

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        return await self._there(self._connected(question))

    async def _connected(self, question: Callable[[], Awaitable[T]]) -> T:
        await self._store.connect()
        return await question()

    async def _there(self, question: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="history", daemon=True)
            self._thread.start()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, self._loop))

    async def close(self) -> None:
        """Disconnect, and end the thread."""
        if self._loop is not None:
            await self._there(self._store.close())
            loop, self._loop = self._loop, None
            loop.call_soon_threadsafe(loop.stop)
            await asyncio.to_thread(self._thread.join)
            loop.close()

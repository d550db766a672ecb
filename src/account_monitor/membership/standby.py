"""Standby: what this process keeps ready of accounts that others hold, so that it can take them over at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

import msgspec
import structlog

from account_monitor.cluster.assignment import followed_by
from account_monitor.cluster.keeper import THREAD_FROM, Keeper
from account_monitor.cluster.members import Board, Card
from account_monitor.errors import HistoryUnavailable
from account_monitor.monitor.overheard import Overheard
from account_monitor.monitor.ports import UNROUTED
from account_monitor.stores.history.batch import EntryRow
from account_monitor.stores.history.following import Following, Heritage
from account_monitor.stores.history.store import Replica

LOOK_SECONDS = 0.25
"""How often it is looked what is to be followed, and told what is."""

log = structlog.get_logger()


class Standby:
    """Follows the accounts that the board gives to this process, and says on its card which of them are warm."""

    def __init__(
        self,
        keeper: Keeper,
        following: Following,
        *,
        card: Card,
        accounts: Callable[[], Collection[str]],
        here: Callable[[], Collection[str]],
        taken: Callable[[], Collection[str]],
        open_history: Callable[[], Awaitable[object]],
        overheard: Overheard,
        kept_seconds: float,
    ) -> None:
        """`accounts` are all that somebody should hold; `here` those whose journals this process has in use;
        `taken` those that it takes up now.

        What is heard for accounts that are followed is `overheard`, and kept for so many seconds.
        `open_history` opens what is followed, or raises HistoryUnavailable.
        """
        self._keeper = keeper
        self._following = following
        self._card = card
        self._accounts = accounts
        self._here = here
        self._taken = taken
        self._open_history = open_history
        self._overheard = overheard
        self._kept_seconds = kept_seconds
        following.on_entries = self._forget

    @property
    def warm(self) -> frozenset[str]:
        """The accounts that could be taken over at once."""
        return self._following.warm

    async def run(self) -> None:
        """Follow until cancelled; `close` first."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._keep_up())

    async def _follow(self) -> None:
        """Follow what the board says, and let others know what this process is ready for."""
        seen, found = Board({}, {}), frozenset[str]()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._keeper.board is not seen:
                seen = self._keeper.board
                found = await self._to_follow(seen)
            followed = found.difference(self._here())
            self._overheard.listen_for(followed.union(self._taken()), seconds=self._kept_seconds)
            await self._following.follow(followed, but=self._taken())
            self._keeper.show(msgspec.structs.replace(self._card, warm=self.warm))

    async def _to_follow(self, board: Board) -> frozenset[str]:
        accounts = [account for account in self._accounts() if account != UNROUTED]  # that is copied nowhere
        session = self._keeper.session.id
        if len(accounts) < THREAD_FROM:
            return frozenset(followed_by(session, accounts, board))
        return frozenset(await asyncio.to_thread(followed_by, session, accounts, board))

    async def _keep_up(self) -> None:
        while True:
            try:
                await self._open_history()
                break
            except HistoryUnavailable as error:
                log.debug("history_not_open", reason=str(error))  # the scribe says it aloud
                await asyncio.sleep(LOOK_SECONDS)
        await self._following.run()

    def _forget(self, account: str, rows: Iterable[EntryRow]) -> None:
        """Keep no longer what is in the copy; of a fill, whichever record it is."""
        self._overheard.forget(account, (row.event_id.partition(" ")[0] for _, row in rows))

    async def hand_over(self, account: str, replica: Replica) -> Heritage:
        """Follow an account to the end of its copy, and then no more, for this process takes it over.

        Raises: HistoryUnavailable.
        """
        return await self._following.hand_over(account, replica)

    async def close(self) -> None:
        """Leave everything."""
        await self._following.close()

"""Retreat: accounts that cannot be recorded here are left to other processes, where one could take them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import structlog

from account_monitor.cluster.keeper import Keeper
from account_monitor.cluster.members import Member
from account_monitor.monitor.ports import UNROUTED, Journal
from account_monitor.stores.journal_file import has_room, is_out_of_room

LOOK_SECONDS = 1.0

TOLD_SECONDS = 2.0
"""How long a journal cannot be written until others are told not to count on this process. Those who are no better off
say the same meanwhile, and nobody gives up anything for them."""

PATIENCE_SECONDS = 5.0
"""How long it cannot be written until the account is given up: a short hitch is over before."""

LEFT_SECONDS = 600.0
"""How long an account is left to others whose file alone cannot be written, for a reason that may pass."""

log = structlog.get_logger()


class Retreat:
    """Gives up what cannot be recorded, and takes nothing while that would be no better."""

    def __init__(
        self,
        keeper: Keeper,
        data_dir: Path,
        *,
        accounts: Callable[[], Collection[str]],
        failed: Callable[[], Mapping[str, Journal]],
        is_copied: Callable[[str, int], bool],
        clock: Callable[[], float],
    ) -> None:
        """`accounts` are all that somebody should hold; `failed` are the journals that are open and cannot be written;
        `is_copied` tells whether an entry of an account is where its next holder reads it.
        """
        self._keeper = keeper
        self._data_dir = data_dir
        self._accounts = accounts
        self._failed = failed
        self._is_copied = is_copied
        self._clock = clock
        self._since: dict[str, float] = {}
        """Since when each journal cannot be written."""
        self._left: dict[str, float] = {}
        """Accounts whose own files are at fault, and until when others should hold them."""
        self._is_out_of_room = False

    @property
    def problem(self) -> str:
        """What is left to others and why, in words for people; empty: nothing."""
        if self._is_out_of_room:
            return f"nothing can be written in {self._data_dir}: what others can hold is left to them"
        if self._left:
            return f"left to others, for their journals here cannot be written: {', '.join(sorted(self._left)[:10])}"
        return ""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Say what others should hold, and give up what cannot be recorded here."""
        failed, now = self._failed(), self._clock()
        self._since = {account: self._since.get(account, now) for account in failed}
        late = {account: now - since for account, since in self._since.items() if now - since >= TOLD_SECONDS}
        is_tried = self._is_out_of_room or any(failed[account].may_be_opened_anew for account in late)
        self._is_out_of_room = await asyncio.to_thread(_is_out_of_room, self._data_dir, is_tried=is_tried)
        self._left = {account: until for account, until in self._left.items() if until > now}
        for account in late:
            if not failed[account].may_be_opened_anew:
                self._left[account] = math.inf  # what the system dropped of it is gone: until somebody has looked
            elif not self._is_out_of_room and late[account] >= PATIENCE_SECONDS:
                self._left[account] = now + LEFT_SECONDS
        if avoided := self._accounts() if self._is_out_of_room and self._others() else list(self._left):
            self._keeper.avoid(avoided)
        over = [account for account, seconds in late.items() if seconds >= PATIENCE_SECONDS]
        self._give_up({account: failed[account] for account in over})

    def _give_up(self, failed: Mapping[str, Journal]) -> None:
        keeper = self._keeper
        if keeper.is_suspended or keeper.problem is not None:
            return  # nobody could be given anything
        going = [
            account
            for account, journal in failed.items()
            if account in keeper.held
            and self._could_be_held(account)
            and (account == UNROUTED or self._is_copied(account, journal.last_seq))
        ]
        for account in keeper.leave(going):
            log.error("account_given_up", account=account, reason=failed[account].failure)

    def _could_be_held(self, account: str) -> bool:
        """Whether another process is there that did not say that it could not take an account."""
        return any(account not in member.card.unable for member in self._others())

    def _others(self) -> list[Member]:
        return [
            member
            for member in self._keeper.board.members.values()
            if member.is_alive and not member.card.is_draining and member.session != self._keeper.session.id
        ]


def _is_out_of_room(data_dir: Path, *, is_tried: bool) -> bool:
    return is_out_of_room(data_dir) or (is_tried and not has_room(data_dir))

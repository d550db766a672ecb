"""A desk with a history: a configuration, a journal that is written by hand, and the database that it is copied to."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import apsw
import asyncpg
import pytest

from account_monitor.cli import run
from account_monitor.config.secrets import Secret
from account_monitor.ledger.events import Event
from account_monitor.monitor.ports import Delivery
from account_monitor.stores.history.opening import history_store
from account_monitor.stores.history.projector import Progress, Projector
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path
from tests.servers.postgres import FreshDatabase

PASSWORD = "TEST_DATABASE_PASSWORD"


class Answer(NamedTuple):
    """What a command said."""

    code: int
    stdout: str
    stderr: str


class HistoryDesk:
    """Accounts at an exchange whose keys are not there: whatever asks for them fails."""

    def __init__(self, folder: Path, database_url: str = "sqlite") -> None:
        parts = urlsplit(database_url)
        self.folder = folder
        self.data_dir = folder / "data"
        self.password = unquote(parts.password or "")
        self.url = database_url if parts.password is None else _without_password(database_url)
        self.document: dict[str, Any] = {
            "service": {"data_dir": str(self.data_dir)},
            "accounts": [{"name": "main", "api_key_env": "UNSET_KEY", "secret_key_env": "UNSET_SECRET"}],
            "database": {"url": self.url, "password_env": PASSWORD if self.password else None},
        }
        self.now_ms = 1_800_000_000_000

    # -- what the service does ---------------------------------------------------------------------------------------

    async def record(self, *events: Event) -> None:
        """Write events into the journal, a second after each other."""
        journal = Journal.open(self.data_dir, "main", clock=lambda: self.now_ms)
        for event in events:
            self.now_ms += 1_000
            await journal.append([Delivery("nats:FILLS", "trading.fills", b"{}", event)])
        await journal.close()

    async def forget(self, *, until: int) -> None:
        """Let the journal forget its first entries."""
        journal = Journal.open(self.data_dir, "main", clock=lambda: self.now_ms)
        journal.compact(until)
        while journal.base_seq < until:  # noqa: ASYNC110  # another thread does it
            await asyncio.sleep(0.01)
        await journal.close()

    async def follow(self) -> None:
        """Bring the history to the end of the journal."""
        store = self.store()
        told: list[Progress] = []

        def tell(progress: Progress) -> None:
            told.append(progress)
            projector.stop()  # at the end of what is recorded

        projector = Projector(
            "main",
            journal_path(self.data_dir, "main"),
            store,
            usd_assets=frozenset({"USDT"}),
            interval_ms=1_000,
            clock=lambda: self.now_ms,
            tell=tell,
        )
        await projector.run()
        await store.close()
        assert not any(progress.problem for progress in told)

    def store(self) -> HistoryStore:
        password = Secret(self.password) if self.password else None
        return history_store(self.url, self.data_dir, clock=lambda: self.now_ms, password=password)

    # -- what people do ----------------------------------------------------------------------------------------------

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command in a process of its own."""
        self._configure()
        return subprocess.Popen(
            [sys.executable, "-m", "account_monitor", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder, env=os.environ | self._environment(),
        )  # fmt: skip

    def run(self, *arguments: str) -> Answer:
        """Run a command here: to start Python takes longer than most of them."""
        self._configure()
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with (
            chdir(self.folder),
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(stdout),
            redirect_stderr(stderr),
        ):
            for name, value in self._environment().items():
                patch.setenv(name, value)
            code = run(list(arguments))
        return Answer(code, *(_text(stream) for stream in (stdout, stderr)))

    async def ask(self, *arguments: str) -> Answer:
        """Run a command beside an event loop."""
        return await asyncio.to_thread(self.run, *arguments)

    def _configure(self) -> None:
        (self.folder / "config.yaml").write_text(json.dumps(self.document))

    def _environment(self) -> dict[str, str]:
        return {PASSWORD: self.password}

    async def meddle(self, statement: str) -> None:
        """Change the database behind everybody's back."""
        if self.url == "sqlite":
            connection = apsw.Connection(str(self.data_dir / "history.sqlite"))
            connection.execute(statement)
            connection.close()
            return
        server = await asyncpg.connect(self.url, password=self.password)
        await server.execute(statement)
        await server.close()


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(unquote(parts.username or ''), safe='')}@{host}").geturl()


def any_desk(request: pytest.FixtureRequest, folder: Path) -> HistoryDesk:
    """Return a desk with the database that a fixture's parameter names: sqlite, postgres or timescale."""
    if request.param == "sqlite":
        return HistoryDesk(folder)
    database: FreshDatabase = request.getfixturevalue(f"{request.param}_database")
    return HistoryDesk(folder, database.url)

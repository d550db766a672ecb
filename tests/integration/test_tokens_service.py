"""Tokens of a running service: made and revoked beside it, used by its commands, journaled."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from account_monitor.monitor.ports import UNROUTED
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import open_reader
from tests.integration.service import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ACCOUNTS = [{"name": "main", "exchange": "none"}, {"name": "alt", "exchange": "none"}]


def service_of(folder: Path) -> Service:
    service = Service(folder, None, ACCOUNTS)
    service.document["auth"] = {"tokens_file": str(folder / "tokens.json")}
    return service


def create(service: Service, name: str, *more: str) -> str:
    """Make a token, and return its text: it is all that the command prints."""
    made = service.command("token", "create", "--config", str(service.config_file), "--name", name, *more)
    assert made.returncode == 0, made.stderr
    text, end = made.stdout.split("\n")
    assert (text[:3], end) == ("am_", "")
    assert text not in made.stderr
    return text


def ask(service: Service, path: str, token: str | None = None, *, port: int | None = None) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port or service.http_port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310  # it begins with http
            body = answer.read().decode()
            return answer.status, json.loads(body) if body.startswith(("{", "[")) else body
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def told_of_tokens(service: Service, token: str | None = None) -> tuple[str, str]:
    """Return what the health says of the file: its state, and to whom may know, why."""
    check = ask(service, "/health", token)[1]["checks"]["tokens"]
    return check["status"], check["message"]


def within(seconds: float, holds: Any) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.05)


def test_tokens_are_made_used_revoked_and_journaled(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    file = tmp_path / "tokens.json"
    config = ("--config", str(service.config_file))
    service.start()
    try:
        assert "nobody is let in" in service.log_file.read_text()
        assert ask(service, "/api/accounts")[0] == 401
        assert told_of_tokens(service) == ("degraded", "")

        # Made beside the service, and good within two seconds.
        reader = create(service, "reader", "--scope", "read", "--account", "main", "--expires", "1h")
        within(2, lambda: ask(service, "/api/account", reader)[0] == 200)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert ask(service, "/api/account?account=alt", reader)[0] == 403
        operator = create(service, "operator", "--scope", "operate")
        within(2, lambda: told_of_tokens(service, operator) == ("healthy", "2 valid, 0 expired, 0 revoked"))

        # The commands show it.
        refused = service.command("status", *config)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "401" in refused.stderr
        assert "ACCOUNT_MONITOR_TOKEN or --token-file" in refused.stderr
        (tmp_path / "token").write_text(reader + "\n")
        shown = service.command("status", *config, "--token-file", str(tmp_path / "token"))
        assert shown.returncode == 0, shown.stderr
        assert "main" in shown.stdout
        silence = ("alerts", "silence", *config, "--account", "main", "--reason", "a test", "--by", "mallory", "1h")
        forbidden = service.command(*silence, "--token-file", str(tmp_path / "token"))
        assert forbidden.returncode == 1
        assert "token 'reader' may read only" in forbidden.stderr
        (tmp_path / "token").write_text(operator)
        done = service.command(*silence, "--token-file", str(tmp_path / "token"))
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("by operator\n")

        # A file that is broken keeps what was, and opens nothing.
        content = file.read_bytes()
        file.write_bytes(b"{")
        within(2, lambda: "is no file of tokens" in told_of_tokens(service, operator)[1])
        assert ask(service, "/api/accounts", "wrong")[0] == 401
        file.write_bytes(content)
        file.chmod(0o644)
        within(2, lambda: "has mode 0644" in told_of_tokens(service, operator)[1])
        file.chmod(0o600)
        within(2, lambda: told_of_tokens(service, operator)[0] == "healthy")

        # Revoked: no more requests, no more stream.
        assert asyncio.run(seconds_until_closed(service, reader)) < 2
        assert ask(service, "/api/account", reader)[0] == 401
        listed = service.command("token", "list", *config, "--json")
        states = {each["name"]: each["state"] for each in map(json.loads, listed.stdout.splitlines())}
        assert states == {"reader": "revoked", "operator": "valid"}
        page = ask(service, "/metrics", port=service.metrics_port)[1]
        assert 'auth_refused_total{reason="missing"}' in page
        assert 'auth_tokens{state="revoked"} 1.0' in page
    finally:
        assert service.stop() == 0

    told = [json.loads(line) for line in service.command("token", "history", *config, "--json").stdout.splitlines()]
    kinds = [(each["kind"], each["address"], each["detail"].partition(":")[0]) for each in told]
    assert ("token_created", "", "token reader") in kinds
    assert ("token_used", "127.0.0.1", "") in kinds
    assert ("token_revoked", "", "token reader") in kinds
    refusals = [each for each in told if each["kind"] == "refused"]
    assert len(refusals) == 1  # in a sum, however many there were
    assert "missing" in refusals[0]["detail"]
    assert refusals[0]["detail"].endswith("; tokens valid no longer: reader: 1")
    everything = service.log_file.read_text() + json.dumps(told) + (tmp_path / "tokens.json").read_text()
    assert reader not in everything
    assert operator not in everything
    with open_reader(journal_path(tmp_path / "data", UNROUTED)) as reading:
        assert reading.verify()[0] == reading.last_seq
    ordered = service.command("token", "orders", *config, "--json")
    assert [(each["account"], each["by"], each["reason"]) for each in map(json.loads, ordered.stdout.splitlines())] == [
        ("main", "operator", "a test")
    ]
    assert service.command("token", "orders", "operator", *config).stdout.endswith("  a test\n")
    nothing = service.command("token", "orders", "reader", *config)
    assert (nothing.stdout, nothing.stderr) == ("", "nothing was ordered by reader\n")
    explained = service.command("explain", *config, "--account", "main")
    assert explained.returncode == 0, explained.stderr

    # What was journaled once is not journaled again.
    service.start()
    within(3, lambda: ask(service, "/api/accounts", operator)[0] == 200)
    time.sleep(1)
    assert service.stop() == 0
    again = [json.loads(line) for line in service.command("token", "history", *config, "--json").stdout.splitlines()]
    assert [each for each in again if each["kind"] in ("token_created", "token_revoked")] == [
        each for each in told if each["kind"] in ("token_created", "token_revoked")
    ]


async def seconds_until_closed(service: Service, token: str) -> float:
    """Revoke a token while a stream is open; return how long that takes to be closed."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.ws_connect(f"http://127.0.0.1:{service.http_port}/ws") as socket,
    ):
        await socket.receive()
        arguments = ("token", "revoke", "--config", str(service.config_file), "reader")
        revoked = await asyncio.to_thread(service.command, *arguments)
        assert revoked.returncode == 0, revoked.stderr
        started = time.monotonic()
        async with asyncio.timeout(5):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert socket.close_code == 4401
        return time.monotonic() - started


def test_a_file_that_is_taken_away_lets_nobody_in(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.write_config()
    operator = create(service, "operator", "--scope", "operate")
    service.start()
    try:
        assert ask(service, "/api/accounts", operator)[0] == 200
        (tmp_path / "tokens.json").unlink()
        within(2.5, lambda: ask(service, "/api/accounts", operator)[0] == 401)
    finally:
        assert service.stop() == 0


def test_a_pipe_in_the_place_of_the_file_ends_no_revocation(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.write_config()
    operator = create(service, "operator", "--scope", "operate")
    create(service, "other", "--scope", "operate")
    file, kept = tmp_path / "tokens.json", tmp_path / "kept.json"
    service.start()
    try:
        file.rename(kept)
        os.mkfifo(file, 0o600)
        within(3, lambda: "is no file" in told_of_tokens(service, operator)[1])
        kept.replace(file)
        revoked = service.command("token", "revoke", "--config", str(service.config_file), "operator")
        assert revoked.returncode == 0, revoked.stderr
        within(3, lambda: ask(service, "/api/accounts", operator)[0] == 401)
    finally:
        assert service.stop() == 0


def test_a_file_that_may_not_be_used_ends_the_start(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.write_config()
    create(service, "operator", "--scope", "operate")
    (tmp_path / "tokens.json").chmod(0o640)

    ended = service.command("run", "--config", str(service.config_file))

    assert ended.returncode == 2
    assert "has mode 0640, expected 0600" in ended.stderr.splitlines()[-1]

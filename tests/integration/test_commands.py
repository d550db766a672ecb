"""The commands as a user types them: exit codes, one clear line for what is wrong, and no traceback."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from account_monitor.cli.status import account_screens
from account_monitor.ledger.alerts import Alert
from account_monitor.monitor.health import Status
from tests.integration.service import Service
from tests.integration.trading_desk import OtherHolders, trading_desk

pytestmark = pytest.mark.integration

OPENING = {"balances": {"USDT": "10000"}, "positions": {"BTCUSDT": {"quantity": "2", "entry_price": "100"}}}


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCOUNT_MONITOR__")}
    return subprocess.run(
        [sys.executable, "-m", "account_monitor", *arguments],
        capture_output=True, text=True, cwd=cwd, env=environment, timeout=60, check=False,
    )  # fmt: skip


@contextmanager
def serving(folder: Path) -> Iterator[Service]:
    service = Service(folder, None, [{"name": "main", "exchange": "none", "opening": copy.deepcopy(OPENING)}])
    service.start()
    yield service
    service.stop()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that the test may change and stop."""
    with serving(tmp_path) as started:
        yield started


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that tests look at and leave as it is."""
    with serving(tmp_path_factory.mktemp("running")) as started:
        yield started


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nonsense"], 2, "nonsense"),
        (["run", "--nonsense"], 2, "--nonsense"),
        (["run", "--config", "absent.yaml"], 2, "absent.yaml"),
        (["check-config", "--config", "absent.yaml"], 2, "absent.yaml"),
        (["run"], 2, "account-monitor demo"),
        (["replay"], 1, "no such data directory"),
        (["replay", "--until", "yesterday"], 2, "yesterday"),
        (["replay", "--until", "2026-11-22T12:00:00"], 2, "time zone"),
        (["backup", "backup.tar"], 1, "no such data directory"),
        (["restore", "absent.tar"], 2, "absent.tar"),
        (["status"], 1, "is the service running?"),
        (["status", "--config", "absent.yaml"], 2, "absent.yaml"),
        (["status", "--config", "absent.yaml"], 2, "--url http://127.0.0.1:8080"),
        (["dead-letters", "show", "one"], 2, "one"),
        (["demo", "--minutes", "0"], 2, "minutes"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    if arguments == ["status"]:
        (tmp_path / "config.yaml").write_text("http: {port: 1}\n")

    result = run(*arguments, cwd=tmp_path)

    assert result.returncode == code
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], 1),  # nothing answers
        (["replay"], 2),  # no journal yet
        (["dead-letters", "list"], 0),
        (["dead-letters", "retry", "--account", "_unrouted", "1"], 1),
        (["backup", "all.tar"], 1),
        (["restore", "config.yaml"], 1),  # not a backup
    ],
)
def test_what_connects_to_no_exchange_asks_for_no_secrets(tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "data").mkdir()
    account = {"name": "main", "api_key_env": "UNSET_KEY", "secret_key_file": "/nowhere/secret"}
    (tmp_path / "config.yaml").write_text(json.dumps({"http": {"port": "1"}, "accounts": [account]}))

    result = run(*arguments, cwd=tmp_path)

    assert "UNSET_KEY" not in result.stderr
    assert "/nowhere/secret" not in result.stderr
    assert result.returncode == code, result.stderr


@pytest.mark.parametrize("command", ["run", "doctor", "check-config"])
def test_what_connects_to_the_exchange_names_the_secret_that_is_missing(tmp_path: Path, command: str) -> None:
    account = {"name": "main", "api_key_env": "UNSET_KEY", "secret_key_env": "UNSET_SECRET"}
    (tmp_path / "config.yaml").write_text(json.dumps({"accounts": [account]}))

    result = run(command, cwd=tmp_path)

    assert (result.returncode, "UNSET_KEY" in result.stderr) == (2, True)


def test_help_names_every_command(tmp_path: Path) -> None:
    result = run("--help", cwd=tmp_path)

    assert result.returncode == 0
    for name in ("run", "demo", "check-config", "status", "replay", "explain", "export", "migrate", "dead-letters",
                 "backup", "restore"):  # fmt: skip
        assert f"  {name} " in result.stdout


def test_check_config_says_everything_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("http: {port: eighty, prot: 1}\nlogging: {level: loud}\n")

    result = run("check-config", cwd=tmp_path)

    assert result.returncode == 2
    assert [word in result.stderr for word in ("eighty", "prot", "loud")] == [True] * 3
    assert len(result.stderr.splitlines()) == 3


def test_health_is_answered_early_and_readiness_once_everything_is(tmp_path: Path) -> None:
    service = Service(tmp_path, None)
    service.start(wait=False)
    service.wait_until(lambda: service.get("/health")[0] == 200, "healthy")
    service.wait_ready()

    assert service.get("/api/account")[0] == 200
    assert service.stop() == 0


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_taken_port_is_named(tmp_path: Path, running: Service, door: str) -> None:
    (tmp_path / "second").mkdir()
    second = Service(tmp_path / "second", None)
    port = running.document[door]["port"]
    second.document[door]["port"] = port
    second.start(wait=False)

    assert second.process is not None
    assert second.process.wait(20) == 2
    assert f"{door}: cannot listen on 127.0.0.1:{port}, it is taken" in second.log_file.read_text()
    assert "Traceback" not in second.log_file.read_text()


def test_a_second_service_on_the_same_journals_is_refused(tmp_path: Path, running: Service) -> None:
    (tmp_path / "second").mkdir()
    second = Service(tmp_path / "second", None)
    second.document["service"]["data_dir"] = running.document["service"]["data_dir"]
    second.start(wait=False)

    assert second.process is not None
    assert second.process.wait(20) == 1
    assert str(running.process.pid if running.process else "") in second.log_file.read_text()
    assert "Traceback" not in second.log_file.read_text()


def test_status_shows_what_the_service_knows(running: Service) -> None:
    result = running.command("status", "--config", str(running.config_file))

    assert result.returncode == 0, result.stderr
    assert "BTCUSDT" in result.stdout
    assert "10,000 USDT" in result.stdout


def test_status_shows_every_digit_when_it_is_piped(running: Service) -> None:
    result = running.command("status", "--config", str(running.config_file))

    assert "…" not in result.stdout
    assert "fills" in result.stdout  # the column that a narrow terminal goes without


def test_status_shows_what_is_not_well_above_the_figures(tmp_path: Path) -> None:
    service = Service(tmp_path, "nats://127.0.0.1:1")
    service.start(wait=False)
    service.wait_until(lambda: service.get("/api/account")[0] == 200, "shown")
    service.wait_until(lambda: "not connected" in str(service.get("/health")), "told of")

    result = service.command("status", "--config", str(service.config_file))
    service.stop()

    assert result.returncode == 0, result.stderr
    first, second, *_ = result.stdout.splitlines()
    assert first.startswith("not ready: ")
    assert second.startswith("degraded  nats  nats://127.0.0.1:1: not connected: ")


async def test_status_shows_once_what_fires_at_its_account(tmp_path: Path) -> None:
    async with trading_desk(tmp_path) as desk:
        await desk.open()
        await desk.trade(Alert("a", "BALANCE_DRIFT", "USDT", "CRITICAL", "FIRING", "differs by 1", 1, 1))
        desk.desk.health.report("journal:main", Status.HEALTHY, "recording")
        desk.desk.health.report("alarms:main", Status.DEGRADED, "BALANCE_DRIFT USDT: differs by 1")
        desk.desk.wait_for("start", None)

        console = Console(width=200, file=io.StringIO())
        screens = await asyncio.to_thread(account_screens, desk.doors.http_url, None, 200)
        console.print(screens.shown)

    title, alert, *rest = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # given above
    assert title.startswith("main")
    assert alert.startswith("CRITICAL  BALANCE_DRIFT USDT  differs by 1  (since ")
    assert "differs" not in "".join(rest)


async def test_status_shows_the_accounts_that_are_here_and_says_who_holds_the_others(tmp_path: Path) -> None:
    async with trading_desk(tmp_path) as desk:
        await desk.open()
        desk.desk.configure(["main", "gamma", "delta", "late"])
        desk.desk.cluster = OtherHolders(
            is_copied=True, held={"gamma": ("a", "http://10.0.0.1:8080"), "delta": ("b", "")}
        )

        def status() -> tuple[int, list[str]]:
            result = run("status", "--url", desk.doors.http_url, cwd=tmp_path)
            return result.returncode, result.stdout.splitlines()

        code, lines = await asyncio.to_thread(status)
        desk.desk.configure(["gamma"])
        code_of_none, none_here = await asyncio.to_thread(status)

    assert (code, code_of_none) == (0, 1)
    assert "gamma  held by a, at http://10.0.0.1:8080: ask there" in lines
    assert "delta  held by b: ask there" in lines
    assert any("account late is not open yet" in line for line in lines)
    assert any(line.startswith("main  seq ") for line in lines)
    assert none_here[-1] == "gamma  held by a, at http://10.0.0.1:8080: ask there"


def test_status_watches_on_while_nothing_answers(tmp_path: Path, service: Service) -> None:
    output = tmp_path / "watched"
    with output.open("w") as file:
        watching = subprocess.Popen(
            [sys.executable, "-u", "-m", "account_monitor", "status", "--watch", "--config", str(service.config_file)],
            stdout=file, stderr=file,
        )  # fmt: skip
    try:
        service.wait_until(lambda: "BTCUSDT" in output.read_text(), "shown")
        service.stop()
        wait_until(lambda: "no answer, trying again: " in output.read_text())
        shown = len(output.read_text())
        service.start()
        wait_until(lambda: "BTCUSDT" in output.read_text()[shown:])
        assert watching.poll() is None
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
    finally:
        watching.kill()
        watching.wait()


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_replay_prints_the_account_while_the_service_runs(running: Service) -> None:
    result = running.command("replay", "--verify", "--config", str(running.config_file))

    assert result.returncode == 0, result.stderr
    replayed, live = json.loads(result.stdout), running.account()
    assert {**replayed, "timestamp": ""} == {**live, "timestamp": ""}


def test_exports_are_made_while_the_service_runs(running: Service) -> None:
    configured = ("--config", str(running.config_file))

    def lines(what: str) -> list[str]:
        result = running.command("export", what, *configured)
        said = ("no history was written here yet", f"no {what} in account main")  # there may be nothing yet
        assert result.stderr == "" or any(each in result.stderr for each in said)
        return result.stdout.splitlines()

    running.wait_until(lambda: len(lines("pnl")) > 1, "in the history")
    assert [len(lines(what)) for what in ("fills", "alerts")] == [1, 1]  # the names of the columns


def test_explain_names_causes_and_entries_while_the_service_runs(running: Service) -> None:
    words = running.command("explain", "--config", str(running.config_file))
    told = running.command("explain", "--json", "--config", str(running.config_file))

    assert words.returncode == 0, words.stderr
    assert "residual" in words.stdout
    assert "at the end" not in words.stdout
    assert "adjustments" in words.stdout
    document = json.loads(told.stdout)
    assert document["equity_change"] == running.get("/api/pnl")[1]["equity"] is None  # nothing prices the position
    assert document["causes"]["opening"] == "10000"
    assert document == running.get("/api/explain?limit=20")[1]


def test_explain_refuses_a_span_that_ends_before_it_begins(running: Service) -> None:
    times = ("--from", "2026-11-23T00:00:00Z", "--to", "2026-11-22T00:00:00Z")

    refused = running.command("explain", *times, "--config", str(running.config_file))

    assert (refused.returncode, "--from: 2026-11-23T00:00:00.000Z is later than --to" in refused.stderr) == (2, True)


def test_replay_until_a_time_before_the_first_entry_is_empty(running: Service) -> None:
    result = running.command("replay", "--until", "2020-01-01T00:00:00Z", "--config", str(running.config_file))

    assert json.loads(result.stdout)["positions"] == {}


def test_replay_names_the_entry_that_somebody_edited(tmp_path: Path) -> None:
    import apsw

    service = Service(tmp_path, None, [{"name": "main", "exchange": "none", "opening": copy.deepcopy(OPENING)}])
    service.start()
    assert service.stop() == 0
    with apsw.Connection(str(tmp_path / "data" / "main.journal")) as journal:
        journal.execute("UPDATE journal SET body = replace(body, '10000', '99999') WHERE seq = 1")

    result = service.command("replay", "--verify", "--config", str(service.config_file))

    assert result.returncode == 1
    assert "entry 1" in result.stderr


def test_a_backup_restores_to_the_same_account_under_a_new_epoch(tmp_path: Path, running: Service) -> None:
    saved = running.command("backup", str(tmp_path / "all.tar"), "--config", str(running.config_file))
    assert saved.returncode == 0, saved.stderr
    (tmp_path / "other").mkdir()
    other = Service(tmp_path / "other", None, running.document["accounts"])
    other.write_config()

    restored = other.command("restore", str(tmp_path / "all.tar"), "--config", str(other.config_file))

    assert restored.returncode == 0, restored.stderr
    other.start()
    before, after = running.account(), other.account()
    assert after["positions"] == before["positions"]
    assert after["epoch"] > before["epoch"]
    assert other.stop() == 0
    again = other.command("restore", str(tmp_path / "all.tar"), "--config", str(other.config_file))
    assert again.returncode == 1
    assert "exists" in again.stderr


def test_a_backup_replaces_no_file_unless_it_is_told_to(tmp_path: Path, running: Service) -> None:
    (tmp_path / "all.tar").write_text("last week")

    refused = running.command("backup", str(tmp_path / "all.tar"), "--config", str(running.config_file))

    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    assert (tmp_path / "all.tar").read_text() == "last week"
    forced = running.command("backup", str(tmp_path / "all.tar"), "--force", "--config", str(running.config_file))
    assert forced.returncode == 0, forced.stderr
    assert (tmp_path / "all.tar").read_bytes()[:9] != b"last week"


def test_an_account_is_added_and_removed_without_a_restart(service: Service) -> None:
    service.document["accounts"].append({"name": "alt", "exchange": "none"})
    service.write_config()
    service.wait_until(lambda: service.get("/api/account?account=alt")[0] == 200, "reloaded")

    service.document["accounts"].pop()
    service.write_config()

    service.wait_until(lambda: service.get("/api/account?account=alt")[0] == 404, "reloaded")
    assert service.account("main")["positions"]["BTCUSDT"]["quantity"] == "2"


def test_a_reload_with_an_error_keeps_what_was(service: Service) -> None:
    service.document["accounts"][0]["opening"]["balances"]["USDT"] = "20000"
    service.document["accounts"].append({"name": "alt", "exchange": "none"})
    service.write_config()
    service.wait_until(lambda: "reload_refused" in service.log_file.read_text(), "refused")

    assert service.account("main")["balances"]["USDT"]["total"] == "10000"
    assert service.get("/api/account?account=alt")[0] == 404
    check = service.get("/health")[1]["checks"]["configuration"]
    assert check["status"] == "degraded"
    assert check["message"].startswith("what was changed is not taken over: accounts.main.opening: the journal was")

    service.document["accounts"][0]["opening"]["balances"]["USDT"] = "10000"
    service.write_config()
    service.wait_until(lambda: service.get("/api/account?account=alt")[0] == 200, "reloaded")
    assert "configuration" not in service.get("/health")[1]["checks"]


def test_what_feeds_an_account_is_not_changed_while_it_runs(service: Service) -> None:
    main = service.document["accounts"][0]
    del main["opening"]
    main |= {"exchange": "binance-usdm", "api_key_env": "PATH", "secret_key_env": "PATH"}  # some variables that are set
    service.write_config()
    service.wait_until(lambda: "reload_refused" in service.log_file.read_text(), "refused")

    assert "accounts.main.exchange: was changed to binance-usdm, which takes a restart" in service.log_file.read_text()
    assert service.account("main")["positions"]["BTCUSDT"]["quantity"] == "2"


def test_sigterm_ends_within_five_seconds(service: Service) -> None:
    started = time.monotonic()

    assert service.stop() == 0

    assert time.monotonic() - started < 5


def test_metrics_are_on_their_own_port(running: Service) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()

    balances = [line for line in text.splitlines() if line.startswith("account_balance{")]
    assert balances == ['account_balance{account="main",asset="USDT"} 10000.0'], text[:3000]


def test_a_reload_that_fails_half_way_leaves_nothing_behind(tmp_path: Path, service: Service) -> None:
    (tmp_path / "data" / "bad.journal").write_text("this is no journal")
    service.document["accounts"] += [{"name": name, "exchange": "none"} for name in ("alpha", "bad")]
    service.write_config()
    service.wait_until(lambda: "reload_refused" in service.log_file.read_text(), "refused")
    assert service.get("/api/account?account=alpha")[0] == 404

    service.document["accounts"].pop()
    service.write_config()

    service.wait_until(lambda: service.get("/api/account?account=alpha")[0] == 200, "reloaded")
    assert service.account("main")["positions"]["BTCUSDT"]["quantity"] == "2"


def test_a_configuration_that_loses_its_accounts_keeps_them_running(service: Service) -> None:
    service.config_file.write_text("")

    service.wait_until(lambda: "reload_refused" in service.log_file.read_text(), "refused")

    assert service.account("main")["positions"]["BTCUSDT"]["quantity"] == "2"

"""`export`: every digit arrives, a file is whole or not there, and nobody asks for keys of an exchange."""

from __future__ import annotations

import asyncio
import csv
import io
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from account_monitor.cli.export_tables import FILLS
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Fill, Opening
from tests.integration.history_desk import HistoryDesk, any_desk
from tests.journal_samples import fill

pytestmark = pytest.mark.integration

D = Decimal
SECOND = 1_800_000_000_000
SHIB = Fill("SHIBUSDT", "7", "BUY", D("98765432109876543210"), D("0.00000001"), SECOND, fee=D("0.00000000000000000001"),
            fee_asset="BNB", realized_pnl=D("-1.5E-7"), order_id='a,"b"', maker=False)  # fmt: skip
ALERTS = (
    Alert("a1", "POSITION_DRIFT", None, "WARNING", "FIRING", "differs", SECOND, SECOND, D("10.50"), D(10)),
    Alert("a2", "BALANCE_DRIFT", "USDT", "CRITICAL", "FIRING", "line one\nline two", SECOND + 1, SECOND + 1),
    Alert(
        "a1",
        "POSITION_DRIFT",
        None,
        "WARNING",
        "RESOLVED",
        "is over",
        SECOND + 60_000,
        SECOND,
        D("9"),
        D(10),
        revision=1,
    ),
)


def opened(usdt: str = "10000") -> Opening:
    return Opening("opening", 0, (("USDT", D(usdt)),), ())


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture(params=["sqlite", "postgres", "timescale"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> HistoryDesk:
    return any_desk(request, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> HistoryDesk:
    return HistoryDesk(tmp_path)


# -- fills -------------------------------------------------------------------------------------------------------------


async def test_fills_arrive_to_the_last_digit(local: HistoryDesk) -> None:
    await local.record(opened(), SHIB, fill("8", at_ms=SECOND + 1))

    answer = await local.ask("export", "fills")

    assert answer.code == 0, answer.stderr
    first, second = table(answer.stdout)
    assert first == {
        "timestamp": "2027-01-15T08:00:00.000Z", "account": "main", "symbol": "SHIBUSDT", "position_side": "BOTH",
        "id": "7", "side": "BUY", "quantity": "98765432109876543210", "price": "0.00000001",
        "fee": "0.00000000000000000001", "fee_currency": "BNB", "realized_pnl": "-0.00000015", "order_id": 'a,"b"',
        "maker": "false", "source": "nats:FILLS", "seq": "2", "recorded_at": "2027-01-15T08:00:02.000Z",
    }  # fmt: skip
    assert (second["fee"], second["maker"]) == ("", "")  # unknown is not zero


async def test_parquet_holds_what_csv_says(local: HistoryDesk) -> None:
    fills = [fill(str(number), price=f"0.{number:08}", at_ms=SECOND + number) for number in range(1, 1_500)]
    await local.record(opened(), SHIB, *fills[:3])
    text = (await local.ask("export", "fills")).stdout
    answer = await local.ask("export", "fills", "-o", "fills.parquet")

    assert answer.stdout == "fills.parquet: 4 rows\n"
    read = pq.read_table(local.folder / "fills.parquet")
    for row, line in zip(read.to_pylist(), table(text), strict=True):
        assert row["timestamp"].isoformat(timespec="milliseconds").replace("+00:00", "Z") == line["timestamp"]
        for name in ("quantity", "price", "fee", "realized_pnl"):
            assert row[name] == (None if line[name] == "" else D(line[name]))
        assert row["maker"] in (None, False)
    types = {name: read.schema.field(name).type for name in ("timestamp", "quantity", "price", "fee", "seq", "maker")}
    assert types == {
        "timestamp": pa.timestamp("ms", tz="UTC"),
        "quantity": pa.decimal128(38, 18),
        "price": pa.decimal128(38, 18),
        "fee": pa.decimal128(38, 30),  # twenty digits after the point
        "seq": pa.int64(),
        "maker": pa.bool_(),
    }


async def test_a_symbol_and_a_time_are_chosen(local: HistoryDesk) -> None:
    await local.record(opened(), SHIB, *(fill(str(n), at_ms=SECOND + n) for n in (1, 2, 3)))

    of_symbol = await local.ask("export", "fills", "--symbol", "SHIBUSDT", "--output", "-")
    between = await local.ask(
        "export", "fills", "--from", "2027-01-15T08:00:00.002Z", "--to", "2027-01-15T08:00:00.003Z"
    )

    assert [row["id"] for row in table(of_symbol.stdout)] == ["7"]
    assert [row["id"] for row in table(between.stdout)] == ["2"]


@pytest.mark.parametrize("options", [(), ("-o", "fills.csv"), ("-o", "fills.parquet")])
async def test_what_was_never_held_is_said_and_what_was(local: HistoryDesk, options: tuple[str, ...]) -> None:
    await local.record(opened(), SHIB, *(fill(str(n), at_ms=SECOND + n) for n in (1, 2)))

    answer = await local.ask("export", "fills", "--symbol", "FOO", *options)

    assert answer.code == 0
    assert answer.stderr == "account-monitor: no fills of FOO in account main; there are of: BTCUSDT, SHIBUSDT\n"
    assert answer.stdout == (f"{options[1]}: 0 rows\n" if options else ",".join(c.name for c in FILLS) + "\n")


async def test_what_the_journal_forgot_was_held(local: HistoryDesk) -> None:
    await local.record(opened(), SHIB, fill("1"), fill("2"))
    await local.follow()
    await local.forget(until=3)

    answer = await local.ask("export", "fills", "--symbol", "FOO")

    assert answer.stderr.endswith("there are of: BTCUSDT, SHIBUSDT\n")


async def test_a_time_without_anything_is_said(local: HistoryDesk) -> None:
    await local.record(opened(), SHIB)

    early = await local.ask("export", "fills", "--symbol", "SHIBUSDT", "--to", "2020-01-01T00:00:00Z")
    any_symbol = await local.ask("export", "fills", "--to", "2020-01-01T00:00:00Z")

    assert early.stderr == "account-monitor: no fills of SHIBUSDT in account main between these times\n"
    assert any_symbol.stderr == "account-monitor: no fills in account main between these times\n"


async def test_many_symbols_are_not_all_listed(local: HistoryDesk) -> None:
    await local.record(opened(), *(fill("1", symbol=f"S{number:02}") for number in range(25)))

    answer = await local.ask("export", "fills", "--symbol", "FOO")

    assert answer.stderr.endswith(", S18, S19, 5 more\n")


async def test_what_a_spreadsheet_would_take_for_a_formula_is_text(local: HistoryDesk) -> None:
    hostile = '=HYPERLINK("http://evil.example","x")'
    fills = [
        SHIB._replace(trade_id=str(n), order_id=text)
        for n, text in enumerate((hostile, "@SUM(1)", "+1", "-1", "\t=1", "=", "plain=1"), start=20)
    ]
    await local.record(opened(), *fills)

    written = [row["order_id"] for row in table((await local.ask("export", "fills")).stdout)]
    row = table((await local.ask("export", "fills")).stdout)[0]
    await local.ask("export", "fills", "-o", "fills.parquet")

    assert written == [f"'{hostile}", "'@SUM(1)", "'+1", "'-1", "'\t=1", "'=", "plain=1"]
    assert row["realized_pnl"] == "-0.00000015"  # a number of ours
    read = pq.read_table(local.folder / "fills.parquet").column("order_id").to_pylist()
    assert read == [fill.order_id for fill in fills]


# -- P&L and alerts ----------------------------------------------------------------------------------------------------


async def test_pnl_arrives_to_the_last_digit(desk: HistoryDesk) -> None:
    await desk.record(opened(), SHIB._replace(fee=None, fee_asset=None, realized_pnl=None))
    await desk.record(fill("1", price="3"), fill("2", price="7.00000001"))
    await desk.follow()

    whole = await desk.ask("export", "pnl")
    position = await desk.ask("export", "pnl", "--symbol", "SHIBUSDT")
    days = await desk.ask("export", "pnl", "--interval", "1d")
    minutes = await desk.ask("export", "pnl", "--interval", "1m", "--account", "main", "--from", "2027-01-15T08:00:02Z")

    assert whole.code == 0, whole.stderr
    assert [row["symbol"] for row in table(whole.stdout)] == [""] * len(table(whole.stdout))
    assert table(whole.stdout)[-1]["equity"] == "10004.00000001"
    assert table(position.stdout)[-1]["total_pnl"] == "0"
    (day,), (minute,) = table(days.stdout), table(minutes.stdout)
    assert day["timestamp"] == "2027-01-15T00:00:00.000Z"
    assert minute["timestamp"] == "2027-01-15T08:00:00.000Z"
    assert day["last_equity"] == minute["max_equity"] == "10004.00000001"
    assert day["snapshot_count"] == str(len(table(whole.stdout)))


async def test_alerts_are_told_as_they_ended(desk: HistoryDesk) -> None:
    await desk.record(*ALERTS)
    await desk.follow()

    every = await desk.ask("export", "alerts")
    of_usdt = await desk.ask("export", "alerts", "--symbol", "USDT")
    await desk.ask("export", "alerts", "-o", "alerts.parquet")

    over, fires = table(every.stdout)
    assert over["message"] == "is over"
    assert (over["state"], over["resolved_at"]) == ("RESOLVED", "2027-01-15T08:01:00.000Z")
    assert (over["value"], over["threshold"]) == ("9", "10")
    assert (fires["message"], fires["resolved_at"], fires["value"]) == ("line one\nline two", "", "")
    assert [row["id"] for row in table(of_usdt.stdout)] == ["a2"]
    assert pq.read_table(desk.folder / "alerts.parquet").column("id").to_pylist() == ["a1", "a2"]


async def test_of_pnl_and_alerts_without_rows_it_says_what_there_is(desk: HistoryDesk) -> None:
    await desk.record(*ALERTS, SHIB._replace(fee=None, fee_asset=None), fill("1"))
    await desk.follow()

    pnl = await desk.ask("export", "pnl", "--symbol", "FOO")
    days = await desk.ask("export", "pnl", "--symbol", "FOO", "--interval", "1d")
    alerts = await desk.ask("export", "alerts", "--symbol", "FOO")

    said = "account-monitor: no pnl of FOO in account main; there are of: BTCUSDT, SHIBUSDT\n"
    assert (pnl.code, pnl.stderr, days.stderr) == (0, said, said)
    assert alerts.stderr == "account-monitor: no alerts of FOO in account main; there are of: USDT\n"


async def test_what_takes_many_pages_is_complete(desk: HistoryDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [Alert(f"x{n}", "STREAM_STALE", None, "WARNING", "FIRING", "gap", SECOND, SECOND) for n in range(7)]
    await desk.record(opened(), *moment, *(fill(str(n), price=str(100 + n)) for n in range(9)))
    await desk.follow()
    whole = [await desk.ask("export", what) for what in ("alerts", "pnl", "fills")]

    for module in ("stores.history.sqlite.MANY", "stores.history.postgres.MANY", "cli.export_tables._PAGE"):
        monkeypatch.setattr(f"account_monitor.{module}", 2)
    paged = [await desk.ask("export", what) for what in ("alerts", "pnl", "fills")]

    assert paged == whole
    assert [len(table(answer.stdout)) for answer in whole][::2] == [7, 9]


async def test_before_there_is_a_history_it_says_so(desk: HistoryDesk) -> None:
    await desk.record(opened())

    answer = await desk.ask("export", "pnl")

    assert answer.code == 1
    assert "no history was written here yet" in answer.stderr


# -- files -------------------------------------------------------------------------------------------------------------


async def test_a_file_is_replaced_only_by_force(local: HistoryDesk) -> None:
    await local.record(opened(), fill())
    target = local.folder / "fills.csv"
    target.write_text("mine")

    refused = await local.ask("export", "fills", "-o", "fills.csv")
    kept = target.read_text()
    forced = await local.ask("export", "fills", "-o", "fills.csv", "--force")

    assert (refused.code, kept) == (1, "mine")
    assert "exists already" in refused.stderr
    assert (forced.code, len(table(target.read_text()))) == (0, 1)


@pytest.mark.parametrize("name", ["fills.csv", "fills.parquet"])
async def test_a_killed_export_leaves_no_file_that_looks_whole(local: HistoryDesk, name: str) -> None:
    await local.record(opened(), *(fill(str(number)) for number in range(20)))
    script = (
        "import os, signal, sys\n"
        "from account_monitor.cli import export_files, run\n"
        "for sheet in (export_files.CsvSheet, export_files._ArrowSheet):\n"
        "    sheet.write = lambda self, rows: os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", script, "export", "fills", "--data-dir", "data", "-o", name]
    ended = await asyncio.to_thread(subprocess.run, command, cwd=local.folder, check=False)

    assert ended.returncode == -signal.SIGKILL
    assert not (local.folder / name).exists()
    assert [path.name for path in local.folder.iterdir() if "fills" in path.name] != [name]


async def test_without_pyarrow_it_says_how_to_install_it(local: HistoryDesk) -> None:
    await local.record(opened(), fill())
    script = (
        "import sys; sys.modules['pyarrow'] = None; from account_monitor.cli import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "export", "fills", "--data-dir", "data", "-o", "f.parquet"]
    ended = await asyncio.to_thread(
        subprocess.run, command, cwd=local.folder, check=False, capture_output=True, text=True
    )

    assert ended.returncode == 1
    assert ended.stderr.endswith(
        "Parquet needs pyarrow, which is not installed: pip install 'account-monitor[export]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fills", "--format", "parquet"], "--output"),
        (["fills", "--interval", "1h"], "--interval is for pnl"),
        (["pnl", "--from", "2027-01-02T00:00:00Z", "--to", "2027-01-01T00:00:00Z"], "--from is later than --to"),
        (["fills", "--account", "other"], "'other'"),
        (["orders"], "orders"),
    ],
)
async def test_what_is_asked_wrongly_is_said(local: HistoryDesk, arguments: list[str], said: str) -> None:
    await local.record(opened())

    answer = await local.ask("export", *arguments)

    assert answer.code == 2
    assert said in answer.stderr

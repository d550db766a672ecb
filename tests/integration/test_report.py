"""`report`: one page whose tables agree with each other and with `explain`, and in which nobody else has a word."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest

from account_monitor.cli import run
from account_monitor.cli.screen import MISSING
from account_monitor.ledger.account import USD_ASSETS, Account
from account_monitor.ledger.events import (
    Adjustment,
    Event,
    Fill,
    FundingPayment,
    Horizon,
    MarkPrice,
    Marks,
    Opening,
    Place,
    Transfer,
)
from account_monitor.ledger.reconciliation import Finding, Reconciliation
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal
from tests.journal_samples import delivery

D = Decimal
DAY = 86_400_000
BEGUN = 1_764_028_800_000
"""2025-11-25T00:00:00Z."""

HOSTILE = "<script>alert('x')</script>\u202e&\"USDT"


def fill(
    number: int, side: Literal["BUY", "SELL"], price: str, *, symbol: str = "BTCUSDT", quantity: str = "1"
) -> Fill:
    return Fill(symbol, str(number), side, D(quantity), D(price), BEGUN + number, fee=D("0.07"), fee_asset="USDT",
                maker=bool(number % 2))  # fmt: skip


def marked(at_ms: int, price: str) -> Marks:
    return Marks(at_ms, (MarkPrice("BTCUSDT", D(price), at_ms),))


async def lived(folder: Path, account: str = "main") -> None:
    """Record two days and a half of an account."""
    happened: list[tuple[int, Sequence[Event]]] = [
        (BEGUN + 1_000, [Opening("o", 0, (("USDT", D(1000)),))]),
        (BEGUN + 2_000, [fill(1, "BUY", "100"), marked(BEGUN + 2_000, "110")]),
        (BEGUN + DAY + 1_000, [fill(2, "SELL", "90"), marked(BEGUN + DAY, "90")]),
        (BEGUN + DAY + 2_000, [Transfer("t", "USDT", D(500), BEGUN)]),
        (BEGUN + 2 * DAY, [fill(3, "BUY", "3", symbol=HOSTILE)]),
        (BEGUN + 2 * DAY, [FundingPayment("f", "USDT", D("-0.25"), BEGUN, HOSTILE)]),
        (BEGUN + 2 * DAY + 1, [Adjustment("a", BEGUN, "UNEXPLAINED", (("USDT", D("-1.5")),), reason=HOSTILE)]),
    ]  # fmt: skip
    for at_ms, events in happened:
        journal = Journal.open(folder, account, clock=lambda at_ms=at_ms: at_ms)  # type: ignore[misc]  # a default
        await journal.append([delivery(event) for event in events])
        await journal.close()


class Page(HTMLParser):
    """What stands in a page: the tables by id, each row as texts, with the exact digits of amounts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: set[str] = set()
        self._rows: list[list[str]] = []
        self._cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if tag == "table":
            self._rows = self.tables[given["id"] or ""] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = []
        elif tag == "data" and self._cell is not None:
            self._cell.append(f"={given['value']}")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            exact = [each[1:] for each in self._cell if each.startswith("=")]
            self._rows[-1].append(exact[0] if exact else "".join(self._cell))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def amounts(self, table: str) -> dict[str, dict[str, str]]:
        """Return the cells of a table by the name of their row and column."""
        head, *rows = self.tables[table]
        return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


@pytest.fixture
async def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    await lived(folder)
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a command prints."""
    code = run([*arguments])
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out


def summed(rows: dict[str, dict[str, str]], column: str) -> Decimal:
    return sum((D(row[column]) for name, row in rows.items() if name != "total"), D(0))


SPANS = [[], ["--from", "2025-11-26T00:00:00Z"], ["--to", "2025-11-26T00:00:00Z"],
         ["--from", "2025-11-25T00:00:02Z", "--to", "2025-11-27T00:00:00Z"]]  # fmt: skip


@pytest.mark.parametrize("span", SPANS)
def test_every_table_comes_to_what_explain_says(
    data: Path, capsys: pytest.CaptureFixture[str], span: list[str]
) -> None:
    page = Page(told(capsys, "report", *span))
    explained = json.loads(told(capsys, "explain", "--json", *span))

    causes = {name: row["USD"] for name, row in page.amounts("a0-causes").items()}
    days, positions = page.amounts("a0-days"), page.amounts("a0-positions")
    change = D(explained["equity_change"])
    assert D(causes["change of equity"]) == summed(days, "change") == D(days["total"]["change"]) == change
    assert D(causes["residual: what no cause explains"]) == D(explained["residual"]) == 0
    assert D(causes["P&L"]) == summed(days, "P&L") == summed(positions, "P&L") == D(positions["total"]["P&L"])
    trading = D(explained["causes"]["trading"]) + D(explained["causes"]["rounding"])
    assert D(causes["realized P&L"]) + D(causes["price changes of positions"]) == trading
    for name, cause in (("funding", "funding"), ("transfers", "transfers"), ("corrections", "adjustments")):
        assert D(causes[name]) == D(explained["causes"][cause])
    fees = D(causes["fees"])
    assert (
        fees == sum(map(D, explained["causes"]["fees"].values())) == summed(positions, "fees") == summed(days, "fees")
    )


def test_each_day_is_what_explain_says_of_it(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = Page(told(capsys, "report")).amounts("a0-days")

    assert list(days) == ["2025-11-25", "2025-11-26", "2025-11-27", "total"]  # 00:00:00.000 is the end of a day
    for date, after in (("2025-11-25", "2025-11-26"), ("2025-11-26", "2025-11-27"), ("2025-11-27", "2025-11-28")):
        bounds = ("--from", f"{date}T00:00:00Z", "--to", f"{after}T00:00:00Z")
        assert D(days[date]["change"]) == D(json.loads(told(capsys, "explain", "--json", *bounds))["equity_change"])


def test_the_figures_can_be_checked_by_hand(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = Page(told(capsys, "report", "--from", "2025-11-26", "--to", "2025-11-27"))
    causes = {name: row["USD"] for name, row in page.amounts("a0-causes").items()}

    assert causes["realized P&L"] == "-10"  # bought at 100, sold at 90
    assert causes["price changes of positions"] == "-10"  # it stood at 110 when the day began
    assert causes["transfers"] == "500"
    assert page.amounts("a0-fills")["BTCUSDT"]["volume"] == "90"


def test_days_are_those_of_the_time_zone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = Page(told(capsys, "report", "--timezone", "America/New_York")).amounts("a0-days")

    assert list(days) == ["2025-11-24", "2025-11-25", "2025-11-26", "total"]


async def test_of_several_accounts_there_is_a_total(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await lived(data, "alt")
    text = await asyncio.to_thread(told, capsys, "report")
    rows = Page(text).amounts("accounts")

    assert list(rows) == ["alt", "main", "total"]
    for column in ("equity before", "P&L", "flows", "change", "residual", "equity after"):
        assert D(rows["total"][column]) == 2 * D(rows["main"][column])
    assert D(rows["main"]["equity before"]) + D(rows["main"]["P&L"]) + D(rows["main"]["flows"]) == D(
        rows["main"]["equity after"]
    )
    assert "accounts" not in Page(await asyncio.to_thread(told, capsys, "report", "--account", "alt")).tables


async def test_a_change_that_is_not_known_is_no_figure(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    happened: list[Sequence[Event]] = [
        [Opening("o", 0, (("USDT", D(1000)),))],
        [fill(1, "BUY", "100"), marked(BEGUN + DAY, "110")],
        [Transfer("t", "XYZ", D(5), BEGUN)],
    ]
    for number, events in enumerate(happened, start=1):
        journal = Journal.open(data, "poor", clock=lambda at_ms=BEGUN + number * DAY: at_ms)  # type: ignore[misc]
        await journal.append([delivery(event) for event in events])
        await journal.close()

    page = Page(told(capsys, "report"))  # main, poor
    assert json.loads(told(capsys, "explain", "--account", "poor", "--json"))["equity_change"] is None
    assert page.amounts("a1-causes")["change of equity"]["USD"] == MISSING
    days = page.amounts("a1-days")
    assert [(name, row["change"]) for name, row in days.items()] == [
        ("2025-11-25", "1000"), ("2025-11-26", "9.93"), ("2025-11-27", MISSING), ("total", MISSING),
    ]  # fmt: skip
    accounts = page.amounts("accounts")
    assert (accounts["poor"]["change"], accounts["total"]["change"]) == (MISSING, MISSING)
    for row in (days["total"], accounts["poor"], page.amounts("a1-positions")["total"]):
        assert "P&L of what has a price" in row


def test_what_others_wrote_is_text(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "report")
    page = Page(text)

    assert "script" not in page.tags
    assert "\u202e" not in text
    shown = "<script>alert('x')</script>\\u202e&\"USDT"
    assert shown in page.amounts("a0-positions")
    assert page.tables["a0-corrections"][1][2].endswith(shown)


def test_the_page_needs_nothing_and_runs_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "report")

    assert not re.search(r"(?i)https?:|//|\b(src|href|onload|url)\s*[=(]", text)
    assert not Page(text).tags & {"script", "link", "img", "iframe", "object", "form"}
    assert "default-src &#x27;none&#x27;" in text


def test_a_span_in_which_nothing_happened_is_a_page_that_says_so(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(capsys, "report", "--from", "2025-11-25T12:00:00Z", "--to", "2025-11-25T13:00:00Z")

    assert "Nothing was recorded in this span." in text
    assert Page(text).amounts("a0-causes")["change of equity"]["USD"] == "0"


def test_a_span_may_begin_before_the_account_did(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    causes = Page(told(capsys, "report", "--from", "2020-01-01", "--to", "2025-11-26")).amounts("a0-causes")

    assert causes["opening"]["USD"] == "1000"
    assert causes["change of equity"]["USD"] == "1009.93"


async def test_what_the_journal_forgot_is_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = BEGUN + 3 * DAY
    journal = Journal.open(data, "main", clock=lambda: now)
    places = (Place("BTCUSDT", "BOTH", "2", BEGUN + 2, 2, 0), Place(HOSTILE, "BOTH", "3", BEGUN + 3, 1, 1))
    await journal.append([delivery(Horizon(now, BEGUN + DAY, places))])
    account = Account(journal.reader, usd_assets=USD_ASSETS)
    account.apply_all([(entry.seq, entry.event) for entry in journal.entries()])
    await JournalCheckpoints(journal, USD_ASSETS).save(account.state)
    kept, forgotten = account.state.seq, account.state.needed_after
    await journal.append([delivery(Transfer("late", "USDT", D(250), now))])
    journal.compact(forgotten)
    async with asyncio.timeout(10):
        while journal.base_seq < forgotten:  # noqa: ASYNC110  # another thread does it
            await asyncio.sleep(0.001)
    await journal.close()

    page = await asyncio.to_thread(told, capsys, "report")
    assert f"The span begins after entry {kept}: older entries are in the history only." in page
    assert Page(page).amounts("a0-causes")["change of equity"]["USD"] == "250"
    assert await asyncio.to_thread(run, ["report", "--from", "2025-11-25"]) == 1
    assert capsys.readouterr().err == (
        "account-monitor: account main: --from: it can be told from 2025-11-28T00:00:00.000Z on;"
        " older entries are in the history only\n"
    )


def test_a_file_appears_whole_and_is_not_replaced_unasked(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "report", "--output", "r.html").startswith("r.html: main, the beginning to ")
    assert run(["report", "--output", "r.html"]) == 1
    assert "exists already" in capsys.readouterr().err
    told(capsys, "report", "--output", "r.html", "--force")

    assert [path.name for path in data.parent.iterdir() if path != data] == ["r.html"]
    assert Path("r.html").read_text().endswith("</html>\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--account", "nobody"], 2, "there is no account 'nobody'"),
        (["--from", "2025-11-26", "--to", "2025-11-25"], 2, "--from: 2025-11-26T00:00:00.000Z is later than --to"),
        (["--from", "2199-01-01"], 2, "--from: 2199-01-01T00:00:00.000Z is later than now"),
        (["--from", "2999-01-01"], 2, "--from: '2999-01-01' is not a time of the years 1970 to 2199 in UTC"),
        (["--from", "0001-01-01", "--timezone", "Asia/Tokyo"], 2, "'0001-01-01' is not a time of the years 1970"),
        (["--from", "yesterday"], 2, "--from: 'yesterday' is not a time"),
        (["--to", "2025-11-25T00:00:00"], 2, "has no time zone"),
        (["--to", "2025-11-24"], 1, "account main: began at 2025-11-25T00:00:01.000Z, after the span"),
        (["--timezone", "Mars/Olympus"], 2, "--timezone: 'Mars/Olympus' is not known here"),
        (["--timezone", "/etc/passwd"], 2, "--timezone: '/etc/passwd' is not known here"),
        (["--output", "absent/r.html"], 1, "there is no such directory"),
        (["--output", "data"], 1, "is no file"),
        (["--data-dir", "absent"], 1, "there is no such data directory"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert run(["report", *arguments]) == code

    output = capsys.readouterr()
    assert said in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""


async def test_a_comparison_that_found_events_does_not_say_that_nothing_differed(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal.open(data, "main", clock=lambda: BEGUN + 3 * DAY)
    found = (Finding("fill:BTCUSDT:9", "MISSED_FILL"),)
    for each in (
        Reconciliation("r1", BEGUN, "statement", findings=found, finding_count=1),
        Reconciliation("r2", BEGUN, "statement"),
    ):
        await journal.append([delivery(each)])
    await journal.close()

    rows = Page(told(capsys, "report")).tables["a0-reports"][1:]

    assert [row[1:] for row in rows] == [
        ["statement: events that nobody had told of; the amounts agree", "1 event found"],
        ["statement: no difference", "—"],
    ]


def test_what_came_of_a_position_and_of_a_day_stands_beside_its_name(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A phone shows the first columns."""
    tables = Page(told(capsys, "report")).tables
    assert tables["a0-positions"][0][:2] == ["position", "P&L"]
    assert tables["a0-days"][0][:2] == ["day", "P&L"]

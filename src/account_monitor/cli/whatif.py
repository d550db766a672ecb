"""`whatif`: equity, margins and liquidations of a running service's account, if prices moved."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import click
import msgspec

from account_monitor.api.whatif import ScenarioReport, WhatIfReport
from account_monitor.cli.answers import document
from account_monitor.cli.options import account_option, config_option, tls_options, token_option
from account_monitor.cli.screen import MISSING, rounded, whole
from account_monitor.cli.status import address
from account_monitor.ledger.money import to_text
from account_monitor.ledger.whatif import shock_from_text


@click.command()
@config_option
@account_option
@tls_options
@token_option
@click.option("--shock", "shocks", multiple=True, required=True, metavar="MOVE",
              help="-10% moves every price, BTCUSDT:-10% one, BTCUSDT:-10%,5% one and all others.")  # fmt: skip
@click.option("--symbol", help="What the shock without a symbol moves alone.")
@click.option("--url", help="Of the service; default: as configured.")
@click.option("--json", "as_json", is_flag=True, help="The same as /api/whatif returns.")
def whatif(
    config_file: Path | None,
    account: str | None,
    shocks: tuple[str, ...],
    symbol: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Say what an account would be worth under price moves, and what the exchange would liquidate on the way."""
    moves = ",".join(shocks)
    for move in moves.split(","):
        try:
            shock_from_text(move)
        except ValueError as error:
            raise click.UsageError(f"--shock: {error}") from None
    asked = [("shock", moves)]
    asked += [(name, text) for name, text in (("symbol", symbol), ("account", account)) if text is not None]
    report = document(f"{url or address(config_file)}/api/whatif?{urlencode(asked)}", WhatIfReport)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        click.echo("\n".join(_lines(report)))


def _lines(report: WhatIfReport) -> list[str]:
    moves = [f"{symbol} {_signed(pct)} %" for symbol, pct in report.shocks.items()]
    if report.other_prices != "0" or not moves:
        moves.append(f"{'all other' if moves else 'all'} prices {_signed(report.other_prices)} %")
    before, after = _figures(report.before), _figures(report.after)
    rows = [("", "now", "then")] + [(name, figure, after[name]) for name, figure in before.items()]
    keys = sorted(report.before.liquidations.keys() | report.after.liquidations.keys())
    rows += [
        (f"liquidation of {key}", whole(report.before.liquidations.get(key)), whole(report.after.liquidations.get(key)))
        for key in keys
    ]
    lines = [f"{report.account}  seq {report.epoch}:{report.seq}  if {', '.join(moves)}", "", *_columns(rows), ""]
    if not report.liquidated:
        judged = report.after.margin_ratio is not None
        return [*lines, "nothing would be liquidated" if judged else "margins are not known: nobody can tell more"]
    lines.append("would be liquidated, in this order:")
    lines += [
        f"  after {rounded(each.after_pct, 2)} % of the move: {each.margin_type} pool {each.pool}:"
        f" {', '.join(each.positions)}"
        for each in report.liquidated
    ]
    return lines


def _figures(shown: ScenarioReport) -> dict[str, str]:
    figures = {
        "equity": rounded(shown.equity, 2),
        "unrealized": rounded(shown.unrealized_pnl, 2),
        "leverage": rounded(shown.leverage, 2),
        "maintenance margin": rounded(shown.maintenance_margin, 2),
        "available margin": rounded(shown.available_margin, 2),
        "margin ratio": _percent(shown.margin_ratio),
    }
    pools = {f"margin ratio of {pool.name}": _percent(pool.margin_ratio) for pool in shown.pools}
    return figures | (pools if len(pools) > 1 else {})


def _percent(ratio: str | None) -> str:
    return MISSING if ratio is None else f"{rounded(to_text(100 * Decimal(ratio)), 2)} %"


def _signed(pct: str) -> str:
    return pct if pct.startswith("-") else f"+{pct}"


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [f"  {name:<{widths[0]}}  {now:>{widths[1]}}  {then:>{widths[2]}}".rstrip() for name, now, then in rows]

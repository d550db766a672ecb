"""Glossary: what each name in the JSON means, in which unit, with which sign."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Term(NamedTuple):
    """The meaning of a name. `form`: decimal and time are texts."""

    meaning: str
    form: Literal["decimal", "time", "plain"] = "plain"


def _decimal(meaning: str) -> Term:
    return Term(meaning, "decimal")


def _time(meaning: str) -> Term:
    return Term(meaning, "time")


TERMS = {
    # which account, as of when
    "account": Term("Name of the account."),
    "epoch": Term("Grows whenever `seq` may not continue what was seen before, such as after a restore."),
    "seq": Term("Place in the journal: everything recorded up to it is included."),
    "as_of": _time("Venue time of the youngest event or price that is included."),
    "timestamp": _time("When this was made."),
    "last_update": _time("Venue time of the last event that moved it."),
    "unpriced": Term("Open positions and assets without a price; figures that need one are null."),
    "reconciliation": Term("How the account compares with its exchange; null without one, and in the past."),
    # positions
    "positions": Term("Positions by key."),
    "symbol": Term("Symbol of the contract, as the venue writes it."),
    "position_side": Term("BOTH, or the leg in hedge mode: LONG or SHORT."),
    "state": Term("LONG, SHORT or FLAT."),
    "quantity": _decimal("Contracts; of a position: positive long, negative short."),
    "entry_price": _decimal("Average price of what is held; null when flat."),
    "current_price": _decimal("Price by which it is valued."),
    "price_source": Term("Where that price comes from: mark, or last_fill."),
    "fees": Term("Fees by the asset they were paid in; positive is paid."),
    "value_usd": _decimal("Value at the current price, in USD; negative when short."),
    "liquidation_price": _decimal("Price at which the venue would liquidate."),
    "settlement_asset": Term("Asset of entry price, realized and unrealized P&L."),
    "fill_count": Term("Fills that made the position."),
    "fills_without_fee": Term("Fills whose source did not say what the fee was; the fees are those of the others."),
    "PositionReport.realized_pnl": _decimal("In the settlement asset, before fees and funding."),
    "PositionReport.unrealized_pnl": _decimal("In the settlement asset, at the current price."),
    # results
    "pnl": Term("Results since the first event, in USD."),
    "realized_pnl": _decimal("In USD, before fees and funding."),
    "unrealized_pnl": _decimal("In USD, at the current prices."),
    "total_pnl": _decimal("Realized plus unrealized."),
    "total_fees": _decimal("In USD at the time of each fee; positive is paid."),
    "funding": _decimal("Funding in USD; positive is received."),
    "other": _decimal("Other income in USD: insurance, rebates, conversions."),
    "net_pnl": _decimal("Total less fees, plus funding and other."),
    "win_rate": _decimal("Winning round trips per hundred; null without any."),
    "total_trades": Term("Finished round trips: from flat to flat, or across zero."),
    "winning_trades": Term("Round trips with a result above zero, net of fees and funding."),
    "losing_trades": Term("Round trips with a result below zero."),
    "average_win": _decimal("Mean result of the winning trades, USD."),
    "average_loss": _decimal("Mean result of the losing trades, USD; negative."),
    "profit_factor": _decimal("What was won per dollar lost."),
    "equity": _decimal("Wallets plus unrealized P&L, USD."),
    "max_drawdown_pct": _decimal("Deepest fall from a peak, in percent; zero or negative."),
    "PnLReport.timestamp": _time("Venue time of the youngest event or price that is included."),
    # wallets
    "balances": Term("Wallets by asset."),
    "asset": Term("Name of the asset."),
    "free": _decimal("What may be used."),
    "locked": _decimal("Total less free, not below 0; null where the venue does not state what is free."),
    "total": _decimal("What the wallet holds; null where nobody said what it held at first."),
    "usd_value": _decimal("Total at the price of now, USD."),
    # risk
    "risk": Term("How near the account is to trouble, in USD."),
    "margin_balance": _decimal("Wallets plus unrealized P&L, as margin."),
    "maintenance_margin": _decimal("What the venue demands to keep the positions."),
    "margin_ratio": _decimal("Maintenance margin per margin balance; at 1 the venue liquidates."),
    "leverage": _decimal("Sum of absolute notionals per margin balance."),
    "drawdown_pct": _decimal("Fall from the peak, in percent; zero or negative."),
    "peak_equity": _decimal("Highest equity, flows taken out."),
    "daily_loss": _decimal("Loss since the day started."),
    "liquidations": Term("Liquidation prices by position key."),
    # fills
    "fills": Term("Fills by their time at the venue, then by trade id."),
    "next": Term("Cursor of the next page; null at the end."),
    "id": Term("Trade id of the venue."),
    "side": Term("BUY or SELL."),
    "price": _decimal("Price of the execution."),
    "fee": _decimal("Fee in `fee_currency`; positive is paid, negative a rebate; null where it was not stated."),
    "fee_currency": Term("Asset of the fee."),
    "order_id": Term("Order that was executed."),
    "maker": Term("Whether the order stood in the book."),
    "source": Term("The feed that brought it."),
    "recorded_at": _time("When it was committed to the journal."),
    "FillReport.realized_pnl": _decimal("What the venue says it moved the wallet by; null where it does not say."),
    "FillReport.seq": Term("Place of the fill in the journal."),
    "FillReport.timestamp": _time("Time at the venue."),
    # alerts
    "alerts": Term("Alerts, the one that changed last first; each once, in its last state."),
    "AlertReport.id": Term("Name of the alert; every transition of it carries the same."),
    "AlertReport.type": Term("What kind of thing is wrong."),
    "severity": Term("INFO, WARNING or CRITICAL."),
    "AlertReport.state": Term("FIRING or RESOLVED."),
    "AlertReport.symbol": Term("Position key, asset or stream that it is about; null: the whole account."),
    "AlertReport.message": Term("What was seen when it changed last."),
    "value": _decimal("Figure that made it fire, in the unit of `threshold`; null where there is none."),
    "threshold": _decimal("Where it begins; null where there is none."),
    "AlertReport.cause": Term("Why, where that is known."),
    "AlertReport.timestamp": _time("When it fired."),
    "resolved_at": _time("When it was over; null while it fires."),
    "acked_by": Term("Reserved; null."),
    "acked_at": _time("Reserved; null."),
    # why equity changed
    "from": _time("Begin, as it was asked for; null: before the first entry."),
    "to": _time("End, as it was asked for; null: now."),
    "from_seq": Term("Place in the journal where it begins: the entries after it are explained."),
    "to_seq": Term("Place in the journal of the last entry that is explained."),
    "equity_change": _decimal("Equity at the end less equity at the beginning, USD; null where either is not known."),
    "causes": Term("What changed it, in USD; they add up to it."),
    "residual": _decimal("What the causes leave unexplained: 0."),
    "entries": Term("The youngest entries that changed anything, in the order of the journal."),
    "entry_count": Term("How many entries changed anything."),
    "ExplanationReport.positions": Term("What trading, fees and funding made of each position, USD."),
    "CausesReport.trading": _decimal("Results of trades and of the marks of positions."),
    "CausesReport.rounding": _decimal("What the venue rounded away of the results of trades."),
    "CausesReport.fees": Term("Fees by the asset they were paid in, in USD of the moment; negative is paid."),
    "CausesReport.funding": _decimal("Funding; positive is received."),
    "CausesReport.transfers": _decimal("Deposits less withdrawals."),
    "CausesReport.other": _decimal("Other income: insurance, rebates, conversions."),
    "CausesReport.prices": Term("Changes of the prices of other assets held, by asset."),
    "CausesReport.opening": _decimal("What the account held at first."),
    "CausesReport.adjustments": _decimal("Corrections."),
    "CausesReport.priced_later": _decimal("Worth that was there before anything priced it."),
    "event": Term("The event: its kind and id."),
    "outcome": Term("booked; restated: it came late, and what it changed after it is included."),
    "usd": _decimal("What it did to equity; positive is a gain."),
    "parts": Term("The same by cause."),
    "cause": Term("Name of the cause."),
    "name": Term("Position key, or asset."),
    "EffectReport.seq": Term("Place of the entry in the journal."),
    "EffectReport.timestamp": _time("Time of the event at the venue."),
    # what was compared with the exchange
    "reports": Term("Reports, the youngest first."),
    "interval_in_effect": Term("How often the exchange is asked at present, as `5s`."),
    "quarantined": Term("What is not corrected any more until a person releases it."),
    "ComparisonReport.status": Term("agrees, differs, quarantined, or waiting for the first statement."),
    "compared_at": _time("When the last statement was that was compared, by the exchange's clock."),
    "agreed_at": _time("When the last one was that agreed, up to the tolerances."),
    "drifts": Term("What the exchange states otherwise than the ledger holds, by wallet and position."),
    "kind": Term("wallet or position."),
    "stated": _decimal("What the exchange states: units of the asset, or contracts, positive long."),
    "held": _decimal("What the ledger held; null where it did not know it."),
    "difference": _decimal("Stated less held."),
    "stated_at": _time("When it was stated, by the exchange's clock."),
    "DriftReport.causes": Term("Why, the cause that moved most of it first; empty while it is looked into."),
    "explained": _decimal("What of the difference was found and booked."),
    "is_tolerated": Term("Whether it is within the tolerance, and alarms nobody."),
    "findings": Term("Events that were booked because the exchange listed them and nobody had told of them."),
    "finding_count": Term("How many there were; the first hundred are named."),
    "trigger": Term("What it was looked for because of: statement, or what the search was for."),
    "correction": Term("Id of the adjustment that was booked because nothing explains the drifts; null for none."),
    "ReconciliationReport.id": Term("Id of the report; the same for the same findings."),
    "ReconciliationReport.seq": Term("Place of the report in the journal."),
    "ReconciliationReport.timestamp": _time("When it was found, by the exchange's clock."),
    "QuarantineReport.reason": Term("Why it is not corrected."),
    "QuarantineReport.since": _time("When that began."),
    "RecordedReport.seq": Term("Place of the entry in the journal."),
    "RecordedReport.timestamp": _time("When it was committed to the journal."),
    "Correction.reason": Term("Why it is corrected; journaled."),
    "Correction.wallets": Term("By asset, the amount by which the wallet moves, as decimal text."),
    "Correction.positions": Term("By position key, what the position is."),
    "CorrectedPosition.entry_price": _decimal("Average price of what is held; may be left out where it is flat."),
    "Release.reason": Term("Why it is released; journaled."),
    "by": Term("Who orders it; journaled."),
    # the service
    "AccountSummary.status": Term("ready; folding: starting; recording_stopped: shown as it was, until a restart."),
    "status": Term("healthy, degraded or unhealthy."),
    "message": Term("What was seen."),
    "since": _time("When this status began."),
    "version": Term("Version of the program."),
    "uptime": Term("Whole seconds since the process started."),
    "checks": Term("What was looked at, by name."),
    "ready": Term("Whether it may be relied on."),
    "reason": Term("Why it is not ready; null when it is."),
    "Problem.type": Term("Kind of problem; leads to its explanation."),
    "Problem.title": Term("The kind in words."),
    "Problem.status": Term("Status of the response."),
    "Problem.detail": Term("What was wrong, and what was expected."),
    "Problem.instance": Term("Path of the request."),
}


def term(report: str, name: str) -> Term:
    """Return what a name means in a report. Raises: KeyError for a name that nobody explained."""
    return TERMS.get(f"{report}.{name}") or TERMS[name]

"""Dashboard: account-monitor in Grafana: the accounts, what is heard, the comparison, the exchange, the service."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.panels import DATASOURCE, Json, Panel, Query, Row, laid_out

FILE = Path(__file__).with_name("account-monitor.json")

OF_ACCOUNT = '{job="account-monitor",account=~"$account"}'
OF_JOB = '{job="account-monitor"}'


def _account(name: str, *labels: str) -> Query:
    """Ask for a metric of the chosen accounts; more labels than the account tell its series apart."""
    shown = " ".join(f"{{{{{label}}}}}" for label in ("account", *labels))
    return Query(f"{name}{OF_ACCOUNT}", shown)


def _rate(name: str, selector: str, by: str) -> Query:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return Query(f"sum by ({by}) (rate({name}{selector}[$__rate_interval]))", legend)


def _quantiles(name: str, selector: str, by: str = "") -> tuple[Query, ...]:
    """Ask what half, and 99 of a hundred, do not exceed."""
    prefix = f"{{{{{by}}}}} " if by else ""
    grouped = f"le, {by}" if by else "le"
    return tuple(
        Query(
            f"histogram_quantile({quantile}, sum by ({grouped}) (rate({name}_bucket{selector}[$__rate_interval])))",
            f"{prefix}p{quantile:.0%}".rstrip("%"),
        )
        for quantile in (0.5, 0.99)
    )


ACCOUNTS = Row("Accounts", (
    Panel("Equity", "Wallets plus unrealized P&L.", "currencyUSD", (_account("account_equity_usd"),), 6, is_stat=True),
    Panel(
        "Margin ratio", "Maintenance margin per margin balance; at 100 % the exchange liquidates.", "percentunit",
        (_account("account_margin_ratio"),), 6, is_stat=True, red_from=0.8,
    ),
    Panel(
        "Leverage", "Sum of absolute notionals per margin balance.", "short", (_account("account_leverage"),), 6,
        is_stat=True, red_from=10,
    ),
    Panel(
        "Drawdown", "Fall from the peak, deposits and withdrawals taken out.", "percent",
        (_account("account_drawdown_pct"),), 6, is_stat=True, red_to=-5,
    ),
    Panel("Equity over time", "Wallets plus unrealized P&L.", "currencyUSD", (_account("account_equity_usd"),)),
    Panel(
        "Unrealized P&L", "By position, before fees and funding.", "currencyUSD",
        (_account("account_unrealized_pnl_usd", "symbol"),),
    ),
    Panel("Realized P&L", "Before fees and funding.", "currencyUSD", (_account("account_realized_pnl_usd"),)),
    Panel(
        "Position values", "Negative when short.", "currencyUSD", (_account("account_position_value_usd", "symbol"),)
    ),
    Panel(
        "Open positions", "How many there are.", "short",
        (Query(f"sum by (account) (account_positions_total{OF_ACCOUNT})", "{{account}}"),),
    ),
    Panel("Wallets", "What each holds, in its asset.", "short", (_account("account_balance", "asset"),)),
))  # fmt: skip

ALERTS = Row("Alerts", (
    Panel("Firing now", "By type.", "short", (_account("alerts_firing", "type", "severity"),), 12),
    Panel(
        "Fired", "How many began, within an hour.", "short",
        (
            Query(
                f"sum by (account, type) (increase(alerts_triggered_total{OF_ACCOUNT}[1h]))", "{{account}} {{type}}"
            ),
        ), 12,
    ),
))  # fmt: skip

HEARD = Row("What is heard and recorded", (
    Panel("Fills", "Per second, by source.", "ops", (_rate("fills_total", OF_ACCOUNT, "account, source"),)),
    Panel(
        "Fills told again", "Per second, by source.", "ops",
        (_rate("fills_duplicate_total", OF_ACCOUNT, "account, source"),),
    ),
    Panel(
        "Parked", "Messages in the dead letters, within an hour.", "short",
        (
            Query(
                'sum by (account, reason) (increase(events_parked_total{job="account-monitor"}[1h]))',
                "{{account}} {{reason}}",
            ),
        ),
    ),
    Panel(
        "Latency of fills", "From the time at the venue to the view that shows it.", "s",
        _quantiles("fill_latency_seconds", OF_JOB),
    ),
    Panel("Appends to the journal", "What a commit took.", "s", _quantiles("journal_append_seconds", OF_JOB)),
    Panel(
        "Behind the journal", "Entries that history or Redis do not have yet.", "short",
        (_account("projection_lag_events", "projection"),), red_from=10_000,
    ),
))  # fmt: skip

COMPARISON = Row("Comparison with the exchange", (
    Panel(
        "Booked because it was missed, or corrected", "Within an hour, by cause.", "short",
        (
            Query(
                f"sum by (account, cause) (increase(reconciliation_corrections_total{OF_ACCOUNT}[1h])) > 0",
                "{{account}} {{cause}}",
            ),
        ),
    ),
    Panel(
        "Drift", "The largest difference that a statement showed, in its own unit.", "short",
        _quantiles("reconciliation_drift_abs", OF_JOB),
    ),
    Panel(
        "Residual", "What no cause explains: 0, or account-monitor has a defect.", "currencyUSD",
        (_account("account_equity_residual_usd"),),
    ),
    Panel(
        "Age of the last statement", "Since the exchange last said what the account is.", "s",
        (Query(f"time() - exchange_last_statement_timestamp_seconds{OF_ACCOUNT}", "{{account}}"),), red_from=60,
    ),
    Panel("Interval", "How often it is asked.", "s", (_account("exchange_statement_interval_seconds"),)),
    Panel(
        "Comparison", "From the question to the exchange on.", "s",
        _quantiles("reconciliation_duration_seconds", OF_JOB),
    ),
))  # fmt: skip

STREAM = Row("User stream", (
    Panel("Heard", "1 while it is.", "bool_on_off", (_account("exchange_stream_up"),), 6, is_stat=True, red_to=1),
    Panel(
        "Mark prices", "1 while they come.", "bool_on_off",
        (Query(f"exchange_mark_prices_up{OF_JOB}", "{{address}}"),), 6, is_stat=True, red_to=1,
    ),
    Panel(
        "Gaps", "Seconds not heard within an hour.", "s",
        (Query(f"increase(exchange_stream_gap_seconds_total{OF_ACCOUNT}[1h])", "{{account}}"),), 6, is_stat=True,
        red_from=10,
    ),
    Panel(
        "NATS", "1 while there is a connection.", "bool_on_off",
        (Query(f"nats_connected{OF_JOB}", "{{instance}}"),), 6, is_stat=True, red_to=1,
    ),
    Panel(
        "Lag of messages", "From the time that a message says to its arrival, by the exchange's clock.", "s",
        _quantiles("exchange_event_lag_seconds", OF_ACCOUNT, "account"),
    ),
    Panel(
        "Stream behind statements", "How long after a statement the stream told the same, at least.", "s",
        _quantiles("exchange_stream_behind_seconds", OF_ACCOUNT, "account"),
    ),
    Panel(
        "Statements behind the stream", "How long statements did not show what the stream had told, at least.", "s",
        _quantiles("exchange_statement_behind_seconds", OF_ACCOUNT, "account"),
    ),
    Panel(
        "Messages", "Per second, by type.", "ops",
        (_rate("websocket_messages_received_total", OF_ACCOUNT, "account, type"),),
    ),
    Panel(
        "Gaps and sockets", "Within an hour.", "short",
        (
            Query(f"increase(exchange_stream_gaps_total{OF_ACCOUNT}[1h])", "{{account}} gaps"),
            Query(f"increase(websocket_reconnects_total{OF_ACCOUNT}[1h])", "{{account}} sockets"),
        ),
    ),
    Panel(
        "Irregular", "Repeated, out of order, never told: within an hour.", "short",
        (
            Query(f"increase(exchange_messages_repeated_total{OF_ACCOUNT}[1h])", "{{account}} repeated"),
            Query(f"increase(exchange_messages_disordered_total{OF_ACCOUNT}[1h])", "{{account}} out of order"),
            Query(f"increase(exchange_changes_untold_total{OF_ACCOUNT}[1h])", "{{account}} never told"),
        ),
    ),
))  # fmt: skip

REQUESTS = Row("Requests", (
    Panel(
        "Weight", "Used in this minute, of what it has.", "percentunit",
        (
            Query(
                f"exchange_request_weight_used{OF_JOB} / exchange_request_weight_limit{OF_JOB}", "{{address}}"
            ),
        ), red_from=0.9,
    ),
    Panel(
        "Requests", "Per second, by how they ended.", "ops",
        (_rate("exchange_requests_total", OF_JOB, "address, outcome"),),
    ),
    Panel(
        "Clock", "How far this machine's is ahead, and how wrong that may be.", "s",
        (
            Query(f"exchange_clock_offset_seconds{OF_JOB}", "{{address}} ahead"),
            Query(f"exchange_clock_error_seconds{OF_JOB}", "{{address}} error"),
        ),
    ),
))  # fmt: skip

SERVICE = Row("Service", (
    Panel("Up", "1 while it answers.", "bool_on_off", (Query(f"up{OF_JOB}", "{{instance}}"),), 6, is_stat=True,
          red_to=1),
    Panel(
        "Refused by the exchange", "1 while it takes no requests.", "bool_on_off",
        (Query(f"exchange_limited{OF_JOB}", "{{address}}"),), 6, is_stat=True, red_from=1,
    ),
    Panel(
        "Processor", "Seconds of it per second.", "percentunit",
        (Query(f"rate(process_cpu_seconds_total{OF_JOB}[$__rate_interval])", "{{instance}}"),), 6,
    ),
    Panel(
        "Memory", "Resident.", "bytes", (Query(f"process_resident_memory_bytes{OF_JOB}", "{{instance}}"),), 6
    ),
))  # fmt: skip

ROWS = (ACCOUNTS, ALERTS, HEARD, COMPARISON, STREAM, REQUESTS, SERVICE)


def dashboard() -> Json:
    """Return the dashboard as Grafana imports it."""
    return {
        "uid": "account-monitor",
        "title": "account-monitor",
        "description": "Accounts, what is heard of them, and how good that is. Made by `python -m deploy.grafana`.",
        "tags": ["account-monitor", "trading"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "5s",
        "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_datasource(), _accounts()]},
        "panels": laid_out(ROWS),
    }


def text() -> str:
    """Return the file."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def _datasource() -> Json:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _accounts() -> Json:
    query = f"label_values(account_realized_pnl_usd{OF_JOB}, account)"
    return {
        "name": "account",
        "label": "Account",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "accounts"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "hide": 0,
    }

"""Questions: what a running service is asked for a screen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from rich.text import Text

from account_monitor.api.exchange import ExchangeReport
from account_monitor.api.health import HealthReport, ReadyReport
from account_monitor.cli.answers import document
from account_monitor.cli.screen import ALARM, WARNING, Elsewhere, visible
from account_monitor.errors import CommandFailed
from account_monitor.monitor.reports import AccountReport, AlertReport, FillReport

ALERTS_SHOWN: Final = 20
"""Of each account, those that changed last."""

FILLS_HOURS: Final = 6
"""How far back the last fills are looked for, which are listed from the oldest on."""

_SOME_TIME: Final = "2026-11-22T12:00:00.000Z"

_FILL_PAGES, _FILLS_A_PAGE = 5, 1_000


class _Listed(msgspec.Struct):
    """What is read here of the list of accounts."""

    account: str
    status: str
    member: str | None = None


class _Holding(msgspec.Struct):
    """What is read here of who holds an account."""

    account: str
    address: str | None


class _Cluster(msgspec.Struct):
    """What is read here of the replicas."""

    accounts: list[_Holding]


class Accounts(NamedTuple):
    """The accounts that are shown: the names of those of this service, and who holds the others."""

    here: list[str]
    elsewhere: list[Elsewhere]


class _Alerts(msgspec.Struct):
    """A page of alerts."""

    alerts: list[AlertReport]


class _Fills(msgspec.Struct):
    """A page of fills."""

    fills: list[FillReport]
    next: str | None


class Questions:
    """What one service is asked. Each raises CommandFailed, and NoAnswer of these for what may pass."""

    def __init__(self, url: str, account: str | None) -> None:
        """`account` is the only one that is asked for, None: all."""
        self.url = url
        self._account = account

    def accounts(self) -> Accounts:
        """Return the accounts that are shown."""
        if self._account is not None:
            return Accounts([self._account], [])
        listed = document(f"{self.url}/api/accounts", list[_Listed])
        others = [each for each in listed if each.status == "held_elsewhere"]
        addresses = self._addresses() if others else {}
        return Accounts(
            [each.account for each in listed if each.status != "held_elsewhere"],
            [Elsewhere(each.account, each.member, addresses.get(each.account)) for each in others],
        )

    def _addresses(self) -> dict[str, str | None]:
        """Return by account where its holder answers, None where it does not say."""
        return {each.account: each.address for each in document(f"{self.url}/api/cluster", _Cluster).accounts}

    def account(self, name: str) -> AccountReport:
        """Return one account."""
        return document(f"{self.url}/api/account?account={quote(name)}", AccountReport)

    def firing(self, name: str) -> list[AlertReport]:
        """Return the alerts of an account that fire."""
        asked = f"{self.url}/api/alerts?state=FIRING&limit={ALERTS_SHOWN}&account={quote(name)}"
        return document(asked, _Alerts).alerts

    def last_fills(self, name: str, until: str) -> list[FillReport]:
        """Return the last fills of the hours before a time; of very many, not the last ones."""
        try:
            begun = datetime.fromisoformat(until).astimezone(UTC) - timedelta(hours=FILLS_HOURS)
        except (ValueError, OverflowError):
            raise CommandFailed(f"the service tells {until[:60]!r}, expected a time such as {_SOME_TIME}") from None
        asked = {"account": name, "from": begun.strftime("%Y-%m-%dT%H:%M:%SZ"), "limit": str(_FILLS_A_PAGE)}
        fills: list[FillReport] = []
        for _ in range(_FILL_PAGES):
            page = document(f"{self.url}/api/fills?{urlencode(asked)}", _Fills)
            fills = page.fills or fills
            if page.next is None:
                break
            asked["cursor"] = page.next
        return fills

    def warnings(self, with_alerts: set[str]) -> list[Text]:
        """Return a line for each thing that is not well, but for alarms of accounts whose alerts are shown."""
        health = document(f"{self.url}/health", HealthReport)
        ready = document(f"{self.url}/ready", ReadyReport)
        of_account = "" if self._account is None else f"?account={quote(self._account)}"
        exchange = document(f"{self.url}/api/exchange{of_account}", ExchangeReport)
        return [*_warnings(health, ready, with_alerts), *_poor(exchange)]


def _warnings(health: HealthReport, ready: ReadyReport, with_alerts: set[str]) -> Iterator[Text]:
    """Yield why the figures may not be relied on, and a line for each check that is not healthy.

    Alarms of accounts whose alerts are shown are not said twice, unless the journal of the account no longer tells all.
    """
    told = {
        f"alarms:{account}"
        for account in with_alerts
        if f"journal:{account}" in health.checks and health.checks[f"journal:{account}"].status == "healthy"
    }
    if not ready.ready:
        yield Text(visible(f"not ready: {ready.reason}"), style=ALARM)
    for name, check in health.checks.items():
        if check.status != "healthy" and name not in told:
            style = ALARM if check.status == "unhealthy" else WARNING
            line = f"{check.status}  {name}  {check.message}  (since {check.since})"
            yield Text(visible(line), style=style)


def _poor(exchange: ExchangeReport) -> Iterator[Text]:
    """Yield a line for each account and address of which something is poor of late."""
    poor = [(each.account, each.poor) for each in exchange.accounts]
    poor += [(each.address, each.poor) for each in exchange.addresses]
    for name, reasons in poor:
        if reasons:
            line = f"poor  exchange:{name}  {'; '.join(reasons)}"
            yield Text(visible(line), style=WARNING)

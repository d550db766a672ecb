"""Book: accounts as the stream of a running service tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

import msgspec

from account_monitor.api.health import HealthReport
from account_monitor.errors import CommandFailed
from account_monitor.monitor.reports import (
    AccountReport,
    AlertReport,
    BalanceReport,
    FillReport,
    PnLReport,
    PositionReport,
    RiskUpdateReport,
)

FILLS_KEPT: Final = 20
"""Of each account, the last ones that were told."""


class KeyedPosition(NamedTuple):
    """A position, under its key."""

    key: str
    position: PositionReport


class _Key(msgspec.Struct):
    """What the stream tells of a position beside what REST does."""

    key: str


class _Envelope(msgspec.Struct):
    """A message of the stream whose data are still to be read."""

    type: str
    account: str | None
    epoch: int | None
    seq: int | None
    prev: int | None
    data: msgspec.Raw


class Missing(Exception):
    """A message between two did not come: the stream has to be asked from the last one again."""


Told: TypeAlias = (
    AccountReport | KeyedPosition | BalanceReport | PnLReport | RiskUpdateReport | FillReport | AlertReport
)


def _keyed_position(data: msgspec.Raw) -> KeyedPosition:
    return KeyedPosition(msgspec.json.decode(data, type=_Key).key, msgspec.json.decode(data, type=PositionReport))


_READERS: Final[dict[str, Callable[[msgspec.Raw], Told]]] = {
    "snapshot": msgspec.json.Decoder(AccountReport).decode,
    "position_update": _keyed_position,
    "balance_update": msgspec.json.Decoder(BalanceReport).decode,
    "pnl_update": msgspec.json.Decoder(PnLReport).decode,
    "risk_update": msgspec.json.Decoder(RiskUpdateReport).decode,
    "fill": msgspec.json.Decoder(FillReport).decode,
    "alert": msgspec.json.Decoder(AlertReport).decode,
}
"""By kind of message, what reads its data; of other kinds they are passed over."""


class Page:
    """One account of the book."""

    def __init__(self, begun: AccountReport) -> None:
        self._begun = begun
        self.epoch = begun.epoch
        self.seq = begun.seq
        self._pnl = begun.pnl
        self._positions = dict(begun.positions)
        self._balances = dict(begun.balances)
        self.fills: list[FillReport] = []
        """The youngest first."""
        self.alerts: dict[str, AlertReport] = {}
        """Those that fire, by id."""
        self.alerts_heard = 0
        """How often the stream told of one: what was asked for before that is older."""

    def report(self) -> AccountReport:
        """Return the account as it was told last."""
        return msgspec.structs.replace(
            self._begun, epoch=self.epoch, seq=self.seq, as_of=self._pnl.timestamp, pnl=self._pnl,
            positions=dict(sorted(self._positions.items())), balances=dict(sorted(self._balances.items())),
        )  # fmt: skip

    def begin(self, told: AccountReport) -> None:
        """Take a snapshot; fills and alerts that were told before it stay."""
        self._begun, self.epoch, self.seq = told, told.epoch, told.seq
        self._pnl, self._positions, self._balances = told.pnl, dict(told.positions), dict(told.balances)

    def take(self, told: Told) -> None:
        """Take what a message tells, but for a snapshot."""
        match told:
            case KeyedPosition():
                self._positions[told.key] = told.position
            case BalanceReport():
                self._balances[told.asset] = told
            case PnLReport():
                self._pnl = told
            case RiskUpdateReport():
                self._begun = msgspec.structs.replace(
                    self._begun, risk=told.risk, reconciliation=told.reconciliation, unpriced=told.unpriced
                )
            case FillReport():
                self.add_fills([told])
            case AlertReport():
                self.alerts_heard += 1
                self.alerts.pop(told.id, None)
                if told.state == "FIRING":
                    self.alerts = {told.id: told, **self.alerts}
            case AccountReport():
                self.begin(told)

    def add_fills(self, told: Iterable[FillReport]) -> None:
        """Take fills in any order; the record of one that was told last counts."""
        known = {(fill.symbol, fill.id, fill.side): fill for fill in (*self.fills, *told)}
        youngest = sorted(known.values(), key=lambda fill: (fill.timestamp, fill.seq), reverse=True)
        self.fills = youngest[:FILLS_KEPT]


class Book:
    """All accounts that the stream tells of, and how well the service is."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.health: HealthReport | None = None
        self.told: set[str] = set()
        """Accounts of which a message came by this connection: what is known of the others is older."""

    def begin_anew(self) -> None:
        """Begin with the messages of another connection."""
        self.told = set()

    def hear(self, text: str | bytes) -> str | None:
        """Take one message; return the account of which it is a snapshot.

        Raises: Missing where another should have come before it; CommandFailed for what this version does not know.
        """
        try:
            message = msgspec.json.decode(text, type=_Envelope)
            if message.type == "health":
                self.health = msgspec.json.decode(message.data, type=HealthReport)
                return None
            reader = _READERS.get(message.type)
            told = None if reader is None else reader(message.data)
        except msgspec.MsgspecError as error:
            raise CommandFailed(f"the stream tells what no account-monitor of this version does ({error})") from error
        return self._take(message, told)

    def since(self) -> str | None:
        """Return after which messages the stream is to go on, as `/ws?since=` takes it."""
        return ",".join(f"{name}:{page.epoch}:{page.seq}" for name, page in self.pages.items()) or None

    def keep(self, accounts: Iterable[str]) -> None:
        """Forget accounts that are there no more."""
        kept = set(accounts)
        self.pages = {name: page for name, page in self.pages.items() if name in kept}

    def _take(self, message: _Envelope, told: Told | None) -> str | None:
        name, epoch, seq = message.account, message.epoch, message.seq
        if name is None or epoch is None or seq is None:
            return None  # of a kind that is younger than this program
        page = self.pages.get(name)
        if isinstance(told, AccountReport):
            if page is None:
                self.pages[name] = Page(told)
            else:
                page.begin(told)
            self.told.add(name)
            return name
        if page is None or message.prev != page.seq:
            raise Missing
        self.told.add(name)
        page.epoch, page.seq = epoch, seq
        if told is not None:
            page.take(told)
        return None

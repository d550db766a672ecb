"""Settings: what the operator decided, as frozen values with their defaults. Equal configurations are equal settings.

Field names are the keys of the file; a duration ends in `_seconds` there, where the file says `interval: 5s`.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from account_monitor.config import values
from account_monitor.config.schema import (
    INHERITED,
    Inherited,
    optional,
    optional_section,
    overriding,
    required,
    resolved,
    scalar,
    section,
    section_table,
    sections,
    settings,
    table,
    text_set,
    texts,
)
from account_monitor.config.secrets import Secret
from account_monitor.ledger.events import PositionSide
from account_monitor.ledger.money import ZERO


class Exchange(StrEnum):
    """Where an account lives; NONE knows only the fills that come over NATS."""

    BINANCE_USDM = "binance-usdm"
    NONE = "none"


class KeyPermissions(StrEnum):
    """What to do when an API key may do more than read."""

    WARN = "warn"
    REFUSE = "refuse"


class Policy(StrEnum):
    """What to do about a confirmed difference from the exchange: report it, or also correct it."""

    OBSERVE = "observe"
    ADJUST = "adjust"


class Lease(StrEnum):
    """Where replicas agree on who holds an account."""

    NONE = "none"
    POSTGRES = "postgres"
    NATS = "nats"


class LogLevel(StrEnum):
    """The least severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """For machines, one JSON object a line; for people, text."""

    JSON = "json"
    CONSOLE = "console"


@settings
class ServiceSettings(NamedTuple):
    """`service`. A day starts `day_starts_at_minutes` after 00:00 UTC; `usd_assets` count as one dollar each."""

    name: str = scalar(values.name, "account-monitor")
    data_dir: Path = scalar(values.path, Path("data"))
    reporting_currency: str = scalar(values.asset, "USD")
    day_starts_at_minutes: int = scalar(values.day_time, 0, key="day_starts_at")
    usd_assets: frozenset[str] = text_set(values.asset, frozenset({"USDT", "USDC", "BUSD", "FDUSD", "USD"}))


@settings
class TlsSettings(NamedTuple):
    """`http.tls`: PEM files; `client_ca_file` asks clients for a certificate. No `cert_file`: no TLS."""

    cert_file: Path | None = optional(values.path)
    key_file: Path | None = optional(values.path)
    client_ca_file: Path | None = optional(values.path)


@settings
class GrpcSettings(NamedTuple):
    """`grpc`. `max_connections` limits concurrent RPCs; `tls` None is as in `http`."""

    host: str = scalar(values.host, "127.0.0.1")
    port: int = scalar(values.port, 50_051)
    max_connections: int = scalar(values.whole_number(1, 10_000), 100)
    tls: TlsSettings | None = optional_section(TlsSettings)


@settings
class HttpSettings(NamedTuple):
    """`http`: REST, WebSocket and the dashboard."""

    host: str = scalar(values.host, "127.0.0.1")
    port: int = scalar(values.port, 8080)
    dashboard_enabled: bool = scalar(values.boolean, True)
    allowed_origins: tuple[str, ...] = texts(values.origin)
    max_connections: int = scalar(values.whole_number(1, 60_000), 2_000)
    max_connections_per_address: int = scalar(values.whole_number(1, 60_000), 500)
    tls: TlsSettings = section(TlsSettings)


@settings
class MetricsSettings(NamedTuple):
    """`metrics`: Prometheus metrics and health; `require_token` asks for a token that sees every account."""

    host: str = scalar(values.host, "127.0.0.1")
    port: int = scalar(values.port, 9093)
    path: str = scalar(values.http_path, "/metrics")
    require_token: bool = scalar(values.boolean, False)


@settings
class AuthSettings(NamedTuple):
    """`auth`. Without tokens, http and grpc bind loopback only. `rate_limit` is of one token at one address."""

    tokens_file: Path | None = optional(values.path)
    rate_limit_per_second: float | None = optional(values.rate, 1_000.0, key="rate_limit")


@settings
class WebsocketSettings(NamedTuple):
    """`accounts[].websocket`: the stream of an exchange."""

    reconnect_interval_seconds: float = scalar(values.seconds("100ms"), 5.0, key="reconnect_interval")
    ping_interval_seconds: float = scalar(values.seconds("1s"), 30.0, key="ping_interval")
    timeout_seconds: float = scalar(values.seconds("1s"), 60.0, key="timeout")


@settings
class OpeningPosition(NamedTuple):
    """A position held before the first event: contracts, positive long, and the average price paid for them."""

    quantity: Decimal = required(values.number(meaning="a number of contracts, negative for a short position"))
    entry_price: Decimal = required(values.number(above=ZERO, meaning="a price above 0"))


@settings
class OpeningSettings(NamedTuple):
    """`accounts[].opening`: what an account without an exchange held before its first event.

    `balances` by asset and `positions` by position key are sorted; None means that nobody said. Fills up to `at_ms`
    (milliseconds since 1970-01-01 UTC) are contained in it; None is before everything.
    """

    balances: tuple[tuple[str, Decimal], ...] | None = table(values.asset, values.number(meaning="an amount"))
    positions: tuple[tuple[str, OpeningPosition], ...] | None = section_table(values.position_key, OpeningPosition)
    at_ms: int | None = optional(values.moment, key="at")


_min_balance = values.amount
_max_drawdown_pct = values.number(
    Decimal(-100), Decimal("-0.01"), meaning="a percentage from -100 to -0.01, without a percent sign"
)
_margin_ratio = values.number(
    above=ZERO, most=Decimal(1), meaning="a ratio above 0 and up to 1, at which the exchange liquidates"
)
_share_pct = values.percentage("0", "100")
_daily_loss = values.number(above=ZERO, meaning="a loss, as an amount above 0")


@settings
class ThresholdSettings(NamedTuple):
    """`alerts.thresholds`: where each alert begins; None switches it off. Money is in the reporting currency."""

    min_balance: Decimal | None = optional(_min_balance, Decimal("1000.0"))
    max_drawdown_pct: Decimal | None = optional(_max_drawdown_pct, Decimal("-5.0"))
    max_margin_ratio: Decimal | None = optional(_margin_ratio, Decimal("0.8"))
    max_leverage: Decimal | None = optional(values.positive, Decimal(10))
    min_liquidation_distance_pct: Decimal | None = optional(_share_pct, Decimal(5))
    balance_drift_pct: Decimal | None = optional(_share_pct, Decimal("1.0"))
    position_drift_pct: Decimal | None = optional(_share_pct, Decimal("1.0"))
    max_daily_loss: Decimal | None = optional(_daily_loss)


@settings
class OwnThresholdSettings(NamedTuple):
    """`accounts[].thresholds`: those that are not as in `alerts.thresholds`."""

    min_balance: Decimal | Inherited | None = overriding(_min_balance)
    max_drawdown_pct: Decimal | Inherited | None = overriding(_max_drawdown_pct)
    max_margin_ratio: Decimal | Inherited | None = overriding(_margin_ratio)
    max_leverage: Decimal | Inherited | None = overriding(values.positive)
    min_liquidation_distance_pct: Decimal | Inherited | None = overriding(_share_pct)
    balance_drift_pct: Decimal | Inherited | None = overriding(_share_pct)
    position_drift_pct: Decimal | Inherited | None = overriding(_share_pct)
    max_daily_loss: Decimal | Inherited | None = overriding(_daily_loss)

    def over(self, thresholds: ThresholdSettings) -> ThresholdSettings:
        """Return the thresholds with these in place of the others."""
        own = {name: value for name, value in self._asdict().items() if value is not INHERITED}
        return thresholds._replace(**own)


@settings
class AccountSettings(NamedTuple):
    """`accounts[]`. `api_key` and `secret_key` are what the `*_env` and `*_file` keys name; None without exchange."""

    name: str = scalar(values.name, "main")
    exchange: Exchange = scalar(values.choice(Exchange), Exchange.BINANCE_USDM)
    testnet: bool = scalar(values.boolean, True)
    api_key_env: str | None = optional(values.variable, "BINANCE_API_KEY")
    api_key_file: Path | None = optional(values.path)
    secret_key_env: str | None = optional(values.variable, "BINANCE_SECRET_KEY")
    secret_key_file: Path | None = optional(values.path)
    key_permissions: KeyPermissions = scalar(values.choice(KeyPermissions), KeyPermissions.WARN)
    rest_url: str | None = optional(values.url("http", "https"))
    websocket_url: str | None = optional(values.url("ws", "wss"))
    websocket: WebsocketSettings = section(WebsocketSettings)
    opening: OpeningSettings | None = optional_section(OpeningSettings)
    thresholds: OwnThresholdSettings | None = optional_section(OwnThresholdSettings)
    api_key: Secret | None = resolved()
    secret_key: Secret | None = resolved()


@settings
class DatabaseSettings(NamedTuple):
    """`database`: the history (`sqlite`, in `service.data_dir`, or a libpq URI) and the optional Redis cache."""

    url: str = scalar(values.database_url, "sqlite")
    password_env: str | None = optional(values.variable)
    password_file: Path | None = optional(values.path)
    redis_url: str | None = optional(values.redis_url)
    redis_password_env: str | None = optional(values.variable)
    redis_password_file: Path | None = optional(values.path)
    password: Secret | None = resolved()
    redis_password: Secret | None = resolved()


@settings
class HistorySettings(NamedTuple):
    """`history`: how often marks and P&L are kept, how long, and when old rows are compressed.

    `journal_retention`: how long the journal keeps entries that are in a database elsewhere; None: always.
    """

    snapshot_interval_seconds: float = scalar(values.seconds("100ms"), 1.0, key="snapshot_interval")
    retention_seconds: float = scalar(values.seconds("1h"), 90 * 86_400.0, key="retention")
    journal_retention_seconds: float | None = optional(values.seconds("1d"), key="journal_retention")
    compress_after_seconds: float = scalar(values.seconds("1h"), 7 * 86_400.0, key="compress_after")


@settings
class ReconciliationSettings(NamedTuple):
    """`reconciliation`. A difference up to the tolerance (units of the asset; contracts) is none."""

    enabled: bool = scalar(values.boolean, True)
    interval_seconds: float = scalar(values.seconds("1s"), 5.0, key="interval")
    balance_tolerance: Decimal = scalar(values.amount, Decimal("0.00001"))
    position_tolerance: Decimal = scalar(values.amount, Decimal("0.0001"))
    policy: Policy = scalar(values.choice(Policy), Policy.ADJUST)


@settings
class AlertSettings(NamedTuple):
    """`alerts`. What fires is over when its figure is `hysteresis_pct` of the threshold back inside; `for` is how long
    a figure has to be beyond before it fires. `channels` and `heartbeat_url` are what the
    `*_env` and `*_file` keys name.
    """

    enabled: bool = scalar(values.boolean, True)
    thresholds: ThresholdSettings = section(ThresholdSettings)
    hysteresis_pct: Decimal = scalar(values.percentage("0", "50"), Decimal(5))
    for_seconds: float = scalar(values.seconds("0s"), 0.0, key="for")
    suppression_duration_seconds: float = scalar(values.seconds("0s"), 60.0, key="suppression_duration")
    repeat_interval_seconds: float = scalar(values.seconds("1m"), 4 * 3600.0, key="repeat_interval")
    channels_env: str | None = optional(values.variable)
    channels_file: Path | None = optional(values.path)
    heartbeat_url_env: str | None = optional(values.variable)
    heartbeat_url_file: Path | None = optional(values.path)
    channels: Secret | None = resolved()
    heartbeat_url: Secret | None = resolved()


_LOCAL_NATS: tuple[str, ...] = ("nats://localhost:4222",)


@settings
class NatsSettings(NamedTuple):
    """`pubsub.nats`. No `urls` switches NATS off; `max_reconnects` −1 never gives up."""

    urls: tuple[str, ...] | None = optional(values.nats_urls, _LOCAL_NATS, key="url")
    credentials_file: Path | None = optional(values.path)
    ca_file: Path | None = optional(values.path)
    max_reconnects: int = scalar(values.whole_number(-1, 1_000_000), -1)
    reconnect_wait_seconds: float = scalar(values.seconds("10ms"), 2.0, key="reconnect_wait")


@settings
class TopicSettings(NamedTuple):
    """`pubsub.topics`: NATS subjects in (fill_events, prices) and out (alerts, pnl_updates)."""

    fill_events: str = scalar(values.subject, "trading.fills")
    prices: str = scalar(values.subject, "trading.prices")
    alerts: str = scalar(values.subject, "trading.alerts")
    pnl_updates: str = scalar(values.subject, "trading.pnl")


@settings
class PubsubSettings(NamedTuple):
    """`pubsub`."""

    nats: NatsSettings = section(NatsSettings)
    topics: TopicSettings = section(TopicSettings)


@settings
class ClusterSettings(NamedTuple):
    """`cluster`: who holds an account, and how long a silent holder keeps it. `member` None: named as its host is."""

    lease: Lease = scalar(values.choice(Lease), Lease.NONE)
    ttl_seconds: float = scalar(values.seconds("1s"), 5.0, key="ttl")
    member: str | None = optional(values.name)


@settings
class LoggingSettings(NamedTuple):
    """`logging`."""

    level: LogLevel = scalar(values.choice(LogLevel), LogLevel.INFO)
    format: LogFormat = scalar(values.choice(LogFormat), LogFormat.JSON)


@settings
class Settings(NamedTuple):
    """The whole configuration."""

    service: ServiceSettings = section(ServiceSettings)
    grpc: GrpcSettings = section(GrpcSettings)
    http: HttpSettings = section(HttpSettings)
    metrics: MetricsSettings = section(MetricsSettings)
    auth: AuthSettings = section(AuthSettings)
    accounts: tuple[AccountSettings, ...] = sections(AccountSettings)
    database: DatabaseSettings = section(DatabaseSettings)
    history: HistorySettings = section(HistorySettings)
    reconciliation: ReconciliationSettings = section(ReconciliationSettings)
    alerts: AlertSettings = section(AlertSettings)
    pubsub: PubsubSettings = section(PubsubSettings)
    cluster: ClusterSettings = section(ClusterSettings)
    logging: LoggingSettings = section(LoggingSettings)

    @property
    def grpc_tls(self) -> TlsSettings:
        """The certificates of gRPC."""
        return self.http.tls if self.grpc.tls is None else self.grpc.tls

    def thresholds_of(self, account: AccountSettings) -> ThresholdSettings:
        """Return where the alerts of an account begin."""
        common = self.alerts.thresholds
        return common if account.thresholds is None else account.thresholds.over(common)


class AccountChanges(NamedTuple):
    """What a reload changes, as names of accounts in the order of the configuration that has them."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def changed_accounts(old: Settings, new: Settings) -> AccountChanges:
    """Return which accounts come, go, or are fed otherwise than before: thresholds feed nobody."""
    before = {account.name: account for account in old.accounts}
    after = {account.name: account for account in new.accounts}
    return AccountChanges(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in after if name in before and _feeding(after[name]) != _feeding(before[name])),
    )


def _feeding(account: AccountSettings) -> AccountSettings:
    return account._replace(thresholds=None)


def split_position_key(key: str) -> tuple[str, PositionSide]:
    """Return the symbol and the side that a position key names."""
    symbol, _, leg = key.partition(":")
    side: PositionSide = "LONG" if leg == "LONG" else "SHORT" if leg == "SHORT" else "BOTH"
    return symbol, side

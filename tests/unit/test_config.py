"""What a file and the environment make: settings, their defaults, and how they behave."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from account_monitor.config import (
    AccountChanges,
    AccountSettings,
    AlertSettings,
    DatabaseSettings,
    Exchange,
    NatsSettings,
    OpeningPosition,
    OpeningSettings,
    Policy,
    PubsubSettings,
    Purpose,
    Secret,
    Settings,
    changed_accounts,
    check_settings,
    exposed_files,
    load_settings,
    split_position_key,
    unbuilt,
)
from account_monitor.config.resolving import Resolver
from account_monitor.config.schema import Listing, Section, keys_of
from account_monitor.errors import ConfigurationError

D = Decimal
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"


class Load(Protocol):
    def __call__(self, text: str, environ: Mapping[str, str] = ...) -> Settings: ...


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str, environ: Mapping[str, str] = {}) -> Settings:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, environ)

    return load


def key_paths(settings_type: type, before: str = "") -> Iterator[str]:
    """Yield every key as the documentation writes it: `accounts[].websocket.timeout`."""
    for name, key in keys_of(settings_type).items():
        match key.kind:
            case Section(section, is_optional):
                if is_optional:
                    yield before + name
                yield from key_paths(section, f"{before}{name}.")
            case Listing(Section(section)):
                yield from key_paths(section, f"{before}{name}[].")
            case _:
                yield before + name


def written_paths(value: object, before: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from written_paths(below, f"{before}.{name}" if before else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from written_paths(value[0], f"{before}[]")
    else:
        yield before


# The example and the documentation


def test_the_example_states_the_defaults() -> None:
    # `exchange: none`, because the default is not built yet and the example has to load.
    account = AccountSettings(exchange=Exchange.NONE)

    assert load_settings(EXAMPLE, {}) == Settings(accounts=(account,))


def test_the_example_names_every_key_and_no_other() -> None:
    written = set(written_paths(yaml.load(EXAMPLE.read_text("utf-8"), yaml.BaseLoader)))  # noqa: S506  # text only

    shown_in_comments = ("accounts[].opening.", "accounts[].thresholds.", "grpc.tls.")
    assert written == {path for path in key_paths(Settings) if not path.startswith(shown_in_comments)}


def test_the_opening_that_the_example_shows_in_a_comment_loads(load: Load) -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == "#   opening:")
    shown = "\n".join(line.replace("    #   ", "    ", 1) for line in lines[start : start + 4])

    (account,) = load(f"accounts:\n  - exchange: none\n{shown}").accounts

    assert account.opening == OpeningSettings(
        balances=(("USDT", D(10_000)),),
        positions=(("BTCUSDT", OpeningPosition(quantity=D(1), entry_price=D(100))),),
        at_ms=1_795_348_800_000,
    )


def test_the_documentation_has_a_row_for_every_key() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")

    keys = [path for path in key_paths(Settings) if not path.startswith("accounts[].thresholds.")]
    assert [path for path in keys if f"\n| `{path}` | " not in text] == []


def test_the_documentation_states_the_defaults_of_the_example() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    example = EXAMPLE.read_text("utf-8").replace("exchange: none\n", "exchange: binance-usdm\n")

    def defaults(value: object, before: str = "") -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for name, below in value.items():
                yield from defaults(below, f"{before}.{name}" if before else name)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from defaults(value[0], f"{before}[]")
        else:
            yield before, f"[{', '.join(value)}]" if isinstance(value, list) else str(value)

    stated = defaults(yaml.load(example, yaml.BaseLoader))  # noqa: S506  # text only
    assert [row for row in stated if f"| `{row[0]}` | `{row[1]}` |" not in text] == []


# Thresholds of an account


def test_an_account_has_the_thresholds_of_all_but_its_own(load: Load) -> None:
    text = """
accounts:
  - {name: calm, exchange: none}
  - name: wild
    exchange: none
    thresholds: {max_leverage: "50", min_balance: null}
alerts: {thresholds: {max_drawdown_pct: "-8"}}
"""
    settings = load(text)
    calm, wild = [settings.thresholds_of(account) for account in settings.accounts]

    assert (calm.max_leverage, calm.min_balance, calm.max_drawdown_pct) == (D(10), D(1000), D(-8))
    assert (wild.max_leverage, wild.min_balance, wild.max_drawdown_pct) == (D(50), None, D(-8))


# Reading


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "null", "{}", "http:\nalerts: {thresholds: }\naccounts:\n"]
)
def test_what_is_left_out_has_its_default(load: Load, text: str) -> None:
    assert load(text) == Settings()


def test_without_a_file_the_environment_is_everything() -> None:
    assert load_settings(None, {"ACCOUNT_MONITOR__HTTP__PORT": "81"}).http.port == 81
    assert load_settings(None, {}) == Settings()


def test_decimals_are_exact(load: Load) -> None:
    settings = load(
        "reconciliation: {balance_tolerance: 0.10000000000000000001}\nalerts: {thresholds: {max_leverage: 1e1}}"
    )

    assert settings.reconciliation.balance_tolerance == D("0.10000000000000000001")
    assert settings.alerts.thresholds.max_leverage == D(10)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("1.5s", 1.5), ("1m", 60), ("4h", 14_400), ("90d", 7_776_000)]
)
def test_durations_have_units(load: Load, text: str, seconds: float) -> None:
    assert load(f"history: {{snapshot_interval: {text}}}").history.snapshot_interval_seconds == seconds


def test_scalars_that_other_readers_convert_stay_text(load: Load) -> None:
    settings = load("service: {name: 2026-11-22}\npubsub: {topics: {prices: yes, alerts: 0x10, pnl_updates: 12:30}}")

    assert settings.service.name == "2026-11-22"
    assert (settings.pubsub.topics.prices, settings.pubsub.topics.alerts) == ("yes", "0x10")
    assert settings.pubsub.topics.pnl_updates == "12:30"


@pytest.mark.parametrize("none", ["null", "~", "", "Null", "NULL"])
def test_null_switches_off(load: Load, none: str) -> None:
    settings = load(f"pubsub: {{nats: {{url: {none}}}}}\nalerts: {{thresholds: {{min_balance: {none}}}}}")

    assert settings.pubsub.nats.urls is None
    assert settings.alerts.thresholds.min_balance is None


def test_a_day_starts_in_minutes_after_midnight_utc(load: Load) -> None:
    assert load("service: {day_starts_at: 07:30Z}").service.day_starts_at_minutes == 450


def test_port_0_picks_a_free_one(load: Load) -> None:
    assert load("http: {port: 0}\ngrpc: {port: 0}").http.port == 0


def test_a_nats_cluster_is_several_servers(load: Load) -> None:
    settings = load("pubsub: {nats: {url: 'nats://a:4222, tls://b:4222'}}")

    assert settings.pubsub.nats.urls == ("nats://a:4222", "tls://b:4222")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("database: {url: 'postgresql://u@h1:5432,h2:5433/db?sslmode=require'}", "postgresql://u@h1:5432,h2:5433/db?"),
        ("database: {url: 'postgresql:///db?host=/run/postgresql'}", "postgresql:///db?host=/run/postgresql"),
        ("database: {url: 'postgres://u@[::1]:5432/db'}", "postgres://u@[::1]:5432/db"),
        ("database: {url: 'postgresql://u@%2Frun%2Fpostgresql/db'}", "postgresql://u@%2Frun%2Fpostgresql/db"),
        ("database: {url: 'postgresql://u@/db?host=a,b.&port=1,2'}", "postgresql://u@/db?host=a,b.&port=1,2"),
        ("database: {url: 'postgresql://'}", "postgresql://"),
    ],
)
def test_a_database_is_any_libpq_uri(load: Load, text: str, wanted: str) -> None:
    assert load(text).database.url.startswith(wanted)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h", "redis://h:6379/0", "rediss://[::1]:6380/15", "redis://reader@cache.example.org",
        "rediss://u@h:1/2?ssl_ca_certs=/etc/ca.pem", "redis://h/99", "redis://h/",
    ],
)  # fmt: skip
def test_a_redis_has_a_user_a_database_and_authorities(load: Load, url: str) -> None:
    assert load(f"database: {{redis_url: '{url}'}}").database.redis_url == url


@pytest.mark.parametrize(
    "url",
    ["h:6379", "REDIS://h", "http://h", "redis://", "redis://h:0", "redis://h:70000", "redis://h/x", "redis://h?db=1"],
)
def test_what_is_no_redis_is_refused(load: Load, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"database\.redis_url"):
        load(f"database: {{redis_url: '{url}'}}")


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "+1", "٣"])
def test_a_redis_database_is_a_whole_number_from_0_up(load: Load, number: str) -> None:
    with pytest.raises(ConfigurationError, match="expected the number of a database, a whole number from 0 up"):
        load(f"database: {{redis_url: 'redis://h/{number}'}}")


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
def test_tls_of_a_database_is_what_libpq_calls_it(load: Load, mode: str) -> None:
    url = f"postgresql://u@h/db?sslmode={mode}"

    assert load(f"database: {{url: '{url}'}}").database.url == url


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("required", 'sslmode was "required"'),
        ("Require", 'sslmode was "Require"'),
        ("", "sslmode is none"),
        ("1;2", "sslmode is none"),
    ],
)
def test_another_word_for_tls_is_refused(load: Load, mode: str, shown: str) -> None:
    allowed = "expected disable, allow, prefer, require, verify-ca or verify-full"
    with pytest.raises(ConfigurationError, match=rf"database\.url .*{shown}, {allowed}$"):
        load(f"database: {{url: 'postgresql://u@h/db?sslmode={mode}&application_name=x'}}")


def test_what_is_removed_before_it_is_compressed_is_refused(load: Load) -> None:
    with pytest.raises(
        ConfigurationError, match=r'history\.compress_after was "36h", expected at most the 1d of history'
    ):
        load("history: {retention: 24h, compress_after: 1.5d}")

    assert load("history: {retention: 2d, compress_after: 48h}").history.compress_after_seconds == 172_800
    assert load("history: {retention: 1d}").history.retention_seconds == 86_400  # the default follows


def test_data_dir_may_be_in_the_home_directory(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/trader")

    assert load("service: {data_dir: ~/data}").service.data_dir == Path("/home/trader/data")


def test_an_opening_tells_unknown_from_empty(load: Load) -> None:
    unknown = load("accounts: [{exchange: none, opening: {positions: {}}}]").accounts[0].opening
    empty = load("accounts: [{exchange: none, opening: {balances: {}}}]").accounts[0].opening

    assert unknown == OpeningSettings(balances=None, positions=())
    assert empty == OpeningSettings(balances=(), positions=None)


def test_an_opening_of_hedge_mode_has_two_legs(load: Load) -> None:
    legs = "BTCUSDT:SHORT: {quantity: -2, entry_price: 110}, BTCUSDT:LONG: {quantity: 1, entry_price: 100}"

    opening = load(f"accounts: [{{exchange: none, opening: {{positions: {{{legs}}}}}}}]").accounts[0].opening

    assert opening is not None
    assert opening.positions == (
        ("BTCUSDT:LONG", OpeningPosition(quantity=D(1), entry_price=D(100))),
        ("BTCUSDT:SHORT", OpeningPosition(quantity=D(-2), entry_price=D(110))),
    )
    assert [split_position_key(key) for key, _ in opening.positions] == [("BTCUSDT", "LONG"), ("BTCUSDT", "SHORT")]
    assert split_position_key("BTCUSDT") == ("BTCUSDT", "BOTH")


@pytest.mark.parametrize(
    ("at", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00.001+01:00", 1),
        ("2026-11-22T12:00:00.123Z", 1_795_348_800_123),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_an_opening_may_have_a_time(load: Load, at: str, at_ms: int) -> None:
    opening = load(f"accounts: [{{exchange: none, opening: {{balances: {{}}, at: {at}}}}}]").accounts[0].opening

    assert opening is not None
    assert opening.at_ms == at_ms


ONE_STREAM_TWICE = """
accounts:
- {name: a, exchange: none, websocket: &stream {timeout: 2s}}
- {name: b, exchange: none, websocket: *stream}
"""


def test_aliases_repeat_what_they_name(load: Load) -> None:
    first, second = load(ONE_STREAM_TWICE).accounts

    assert first.websocket.timeout_seconds == second.websocket.timeout_seconds == 2


# The environment


def test_the_environment_overrides_the_file_whatever_its_case(load: Load) -> None:
    environ = {"ACCOUNT_MONITOR__HTTP__PORT": "81", "account_monitor__Metrics__port": "82", "HTTP__PORT": "83"}

    settings = load("http: {port: 8000, dashboard_enabled: false}", environ)

    assert (settings.http.port, settings.metrics.port) == (81, 82)
    assert settings.http.dashboard_enabled is False


def test_the_environment_reaches_into_lists_and_adds_to_their_end(load: Load) -> None:
    environ = {
        "ACCOUNT_MONITOR__ACCOUNTS__0__TESTNET": "false",
        "ACCOUNT_MONITOR__ACCOUNTS__1__EXCHANGE": "none",
        "ACCOUNT_MONITOR__ACCOUNTS__1__NAME": "alt",
    }

    accounts = load("accounts: [{name: main, exchange: none}]", environ).accounts

    assert [(account.name, account.testnet) for account in accounts] == [("main", False), ("alt", True)]


def test_the_tenth_item_is_set_after_the_ninth() -> None:
    environ = {f"ACCOUNT_MONITOR__SERVICE__USD_ASSETS__{number}": f"A{number}" for number in range(11)}

    assert load_settings(None, environ).service.usd_assets == frozenset(
        environ_value for environ_value in environ.values()
    )


def test_the_environment_speaks_yaml_for_lists_sections_null_and_booleans(load: Load) -> None:
    environ = {
        "ACCOUNT_MONITOR__SERVICE__USD_ASSETS": "[USDT, EURT]",
        "ACCOUNT_MONITOR__HTTP": "{port: 81, dashboard_enabled: false}",
        "ACCOUNT_MONITOR__HTTP__PORT": "82",
        "ACCOUNT_MONITOR__ALERTS__THRESHOLDS__MAX_LEVERAGE": "null",
        "ACCOUNT_MONITOR__ACCOUNTS": "[{name: main, exchange: none}]",
        "ACCOUNT_MONITOR__ACCOUNTS__0__OPENING__BALANCES__USDT": "5",
    }

    settings = load("service: {usd_assets: [USD]}", environ)

    assert settings.service.usd_assets == {"USDT", "EURT"}
    assert (settings.http.port, settings.http.dashboard_enabled) == (82, False)
    assert settings.alerts.thresholds.max_leverage is None
    assert settings.accounts[0].opening == OpeningSettings(balances=(("USDT", D(5)),))


def test_the_environment_changes_one_use_of_an_alias_only(load: Load) -> None:
    accounts = load(ONE_STREAM_TWICE, {"ACCOUNT_MONITOR__ACCOUNTS__1__WEBSOCKET__TIMEOUT": "9s"}).accounts

    assert [account.websocket.timeout_seconds for account in accounts] == [2, 9]


def test_names_of_the_operator_match_in_any_case(load: Load) -> None:
    text = "accounts: [{exchange: none, opening: {balances: {usdt: 1}}}]"

    settings = load(text, {"ACCOUNT_MONITOR__ACCOUNTS__0__OPENING__BALANCES__USDT": "2"})

    assert settings.accounts[0].opening == OpeningSettings(balances=(("usdt", D(2)),))


# Secrets

BINANCE = AccountSettings(exchange=Exchange.BINANCE_USDM)


def test_keys_come_from_the_environment() -> None:
    resolver = Resolver({"BINANCE_API_KEY": "the-key", "BINANCE_SECRET_KEY": "the-secret\n"}, frozenset())

    (account,) = resolver.resolve(Settings(accounts=(BINANCE,))).accounts

    assert resolver.missing == []
    assert (account.api_key, account.secret_key) == (Secret("the-key"), Secret("the-secret"))


def test_a_file_comes_before_the_variable_that_is_only_the_default(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    resolver = Resolver({"BINANCE_API_KEY": "from-environment", "BINANCE_SECRET_KEY": "s"}, frozenset())

    (account,) = resolver.resolve(Settings(accounts=(BINANCE._replace(api_key_file=file),))).accounts

    assert account.api_key == Secret("from-file")


def test_passwords_of_databases_come_from_variables_and_files(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("of-redis")
    database = DatabaseSettings(
        url="postgresql://u@h/db", password_env="PG", redis_url="redis://h", redis_password_file=file
    )
    resolver = Resolver({"PG": "of-postgres"}, frozenset({"database.password_env"}))

    resolved = resolver.resolve(Settings(database=database)).database

    assert (resolved.password, resolved.redis_password) == (Secret("of-postgres"), Secret("of-redis"))
    assert resolver.missing == []


def test_secrets_that_nothing_needs_are_not_looked_for() -> None:
    settings = Settings(
        accounts=(AccountSettings(exchange=Exchange.NONE),), database=DatabaseSettings(password_env="NOT_SET")
    )
    resolver = Resolver({}, frozenset())

    assert resolver.resolve(settings) == settings
    assert resolver.missing == []


def test_only_secrets_for_the_named_purposes_are_looked_for() -> None:
    database = DatabaseSettings(
        url="postgresql://user@host/db", password_env="PG", redis_url="redis://h", redis_password_env="REDIS"
    )
    alerts = AlertSettings(channels_file=Path("/nowhere/channels"))
    nats = NatsSettings(credentials_file=Path("/nowhere/creds"))
    settings = Settings(accounts=(BINANCE,), database=database, alerts=alerts, pubsub=PubsubSettings(nats=nats))

    for purpose, missing in (
        (Purpose.EXCHANGE, ["accounts[0].api_key_env", "accounts[0].secret_key_env"]),
        (Purpose.CACHE, ["database.redis_password_env"]),
        (Purpose.NATS, ["pubsub.nats.credentials_file"]),
        (Purpose.CHANNELS, ["alerts.channels_file"]),
        (Purpose.DATABASE, []),
    ):
        resolver = Resolver({"PG": "of-postgres"}, frozenset(), {purpose})
        resolved = resolver.resolve(settings)
        assert [violation.paths[-1] for violation in resolver.missing] == missing
        assert (resolved.database.password is not None) == (purpose is Purpose.DATABASE)


def test_a_secret_hides_and_still_compares() -> None:
    secret = Secret("hunter2")

    assert "hunter2" not in f"{secret} {secret!r} {secret:>10} {[secret]} {BINANCE._replace(api_key=secret)}"
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
    assert hash(secret) == hash(Secret("hunter2"))
    assert secret != Secret("hunter3")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


# Reloading


def test_a_reload_names_the_accounts_that_came_went_and_changed() -> None:
    kept, tuned, gone, rotated = (AccountSettings(name=name) for name in ("kept", "tuned", "gone", "rotated"))
    old = Settings(accounts=(kept, tuned, gone, rotated._replace(api_key=Secret("old"))))
    new = Settings(
        accounts=(
            AccountSettings(name="came"),
            rotated._replace(api_key=Secret("new")),
            tuned._replace(testnet=False),
            kept,
        )
    )

    assert changed_accounts(old, new) == AccountChanges(
        added=("came",), removed=("gone",), changed=("rotated", "tuned")
    )
    assert changed_accounts(old, old) == ((), (), ())


def test_the_same_configuration_is_the_same_settings_however_it_is_written(load: Load) -> None:
    one = load("accounts: [{exchange: none, opening: {balances: {A: 1, B: 2.0}}}]\nhistory: {retention: 24h}")
    other = load('history: {retention: "1d"}\naccounts:\n- opening:\n    balances: {B: "2", A: 1.00}\n  exchange: none')

    assert one == other
    assert hash(one) == hash(other)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().http.port = 1  # type: ignore[misc]


# What is not built yet


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        (Settings(service=Settings().service._replace(reporting_currency="EUR")), "service.reporting_currency"),
    ],
)
def test_what_is_not_built_is_refused_by_name(settings: Settings, path: str) -> None:
    (line,) = unbuilt(settings)

    assert line.startswith(f"{path} asks for ")
    assert "not built yet" in line


def test_defaults_ask_for_nothing_that_is_not_built() -> None:
    assert unbuilt(Settings(accounts=(AccountSettings(exchange=Exchange.NONE),))) == []
    assert check_settings(None, {}) == []
    assert Settings().reconciliation.policy is Policy.ADJUST


# Start-up


def test_importing_costs_no_yaml_parser() -> None:
    code = "import sys; before = set(sys.modules); import account_monitor.config; print(*set(sys.modules) - before)"
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src")}

    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    ).stdout

    assert {"yaml", "structlog", "dataclasses", "difflib"}.isdisjoint(modules.split())


# TLS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http: {tls: {cert_file: c}}", "http.tls.key_file was null, expected a file: http.tls.cert_file needs it"),
        ("http: {tls: {key_file: k}}", "http.tls.cert_file was null, expected a file: http.tls.key_file needs it"),
        ("http: {tls: {client_ca_file: a}}", "http.tls.cert_file was null, expected a file: who asks for"),
        ("grpc: {tls: {key_file: k}}", "grpc.tls.cert_file was null, expected a file: grpc.tls.key_file needs it"),
    ],
)
def test_half_of_what_tls_needs_is_refused(load: Load, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(text)

    assert said in str(refused.value)


def test_grpc_shows_what_http_shows_unless_it_has_its_own(load: Load) -> None:
    http = "http: {tls: {cert_file: c, key_file: k}}"

    assert load(http).grpc_tls == load(http).http.tls
    assert load(f"{http}\ngrpc: {{tls: {{cert_file: d, key_file: e}}}}").grpc_tls.cert_file == Path("d")
    assert load(f"{http}\ngrpc: {{tls: {{}}}}").grpc_tls.cert_file is None


# Files of secrets


def test_a_file_of_secrets_that_others_can_read_is_told_of(load: Load, tmp_path: Path) -> None:
    key, secret = tmp_path / "key", tmp_path / "secret"
    for file, mode in ((key, 0o644), (secret, 0o600)):
        file.write_text("a" * 64)
        file.chmod(mode)
    settings = load(f"accounts: [{{api_key_file: {key}, secret_key_file: {secret}}}]")

    assert exposed_files(settings) == [
        f"accounts[0].api_key_file: {key} can be read or written by others (mode 0644); expected chmod 600"
    ]


def test_every_file_of_secrets_is_looked_at(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "open"
    file.write_text("redis://x")
    file.chmod(0o604)
    named = {path for path in key_paths(Settings) if path.endswith("_file")}
    settings = load(
        f"""
accounts: [{{api_key_file: {file}, secret_key_file: {file}}}]
database: {{url: postgresql://host/db, password_file: {file}, redis_url: redis://host, redis_password_file: {file}}}
alerts: {{channels_file: {file}, heartbeat_url_file: {file}}}
pubsub: {{nats: {{credentials_file: {file}}}}}
"""
    )

    told = {line.partition(":")[0].replace("[0]", "[]") for line in exposed_files(settings)}

    # Certificates are public; a key of TLS and the tokens are refused where they are read.
    elsewhere = {path for path in named if path.endswith(("ca_file", "cert_file", ".tls.key_file", "tokens_file"))}
    assert told == named - elsewhere

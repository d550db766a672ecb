"""What is refused, and the one line that says so: place, key, value, and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

from account_monitor.config import check_settings, load_settings
from account_monitor.config.document import MAX_BYTES
from account_monitor.errors import ConfigurationError


class Check(Protocol):
    def __call__(self, text: str | bytes, environ: Mapping[str, str] = ...) -> list[str]: ...


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.chdir(tmp_path)

    def check(text: str | bytes, environ: Mapping[str, str] = {}) -> list[str]:
        Path("config.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        lines = check_settings("config.yaml", environ)
        assert all(line and line.isprintable() for line in lines)
        return lines

    return check


# Two mistakes of each kind

PORT = "expected a port from 1 to 65535, or 0 for a free one"
DURATION = "expected a duration such as 500ms, 5s, 1m, 4h or 90d"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("http: {prot: 1}", ["http.prot is not a known key; did you mean http.port?"]),
        ("acounts: []", ["acounts is not a known key; did you mean accounts?"]),
        ("logging: {x: 1}", ["logging.x is not a known key; known here: level, format"]),
        ("http: [1]", ["http was a list, expected keys with values"]),
        ("accounts: {name: main}", ["accounts was a section, expected a list such as [a, b]"]),
        ("http: {port: {a: 1}}", [f"http.port was a section, {PORT}"]),
        ("http: {allowed_origins: x}", ['http.allowed_origins was "x", expected a list such as [a, b]']),
        ("accounts: [~]", ["accounts[0] was null, expected keys with values"]),
        ("http: {port: 65536}", [f'http.port was "65536", {PORT}']),
        ("grpc: {port: ''}", [f'grpc.port was "", {PORT}']),
        ("grpc: {port: }", [f"grpc.port was null, {PORT}"]),
        ("grpc: {max_connections: 1.5}",
         ['grpc.max_connections was "1.5", expected a whole number from 1 to 10000']),
        ("history: {retention: 90}", [f'history.retention was "90", {DURATION}']),
        ("history: {retention: 5 s}", [f'history.retention was "5 s", {DURATION}']),
        ("history: {retention: 1s}", ['history.retention was "1s", expected a duration of at least 1h']),
        ("history: {retention: 36501d}", ['history.retention was "36501d", expected a duration of at most 36500d']),
        ("reconciliation: {balance_tolerance: '0,1'}",
         ['reconciliation.balance_tolerance was "0,1", expected an amount of 0 or more']),
        ("reconciliation: {position_tolerance: NaN}",
         ['reconciliation.position_tolerance was "NaN", expected an amount of 0 or more']),
        ("alerts: {thresholds: {max_drawdown_pct: 5}}",
         ['alerts.thresholds.max_drawdown_pct was "5", expected a percentage from -100 to -0.01, without a percent sign'
          ]),
        ("alerts: {thresholds: {balance_drift_pct: 1%}}",
         ['alerts.thresholds.balance_drift_pct was "1%", expected a percentage from 0 to 100, without a percent sign']),
        ("alerts: {thresholds: {max_leverage: 0}}",
         ['alerts.thresholds.max_leverage was "0", expected a number above 0']),
        ("logging: {level: INFO}",
         ['logging.level was "INFO", expected debug, info, warning or error']),
        ("accounts: [{exchange: bybit}]", ['accounts[0].exchange was "bybit", expected binance-usdm or none']),
        ("alerts: {enabled: yes}", ['alerts.enabled was "yes", expected true or false']),
        ("alerts: {enabled: 1}", ['alerts.enabled was "1", expected true or false']),
        ("service: {day_starts_at: 24:00Z}",
         ['service.day_starts_at was "24:00Z", expected a time of day in UTC, from 00:00Z to 23:59Z']),
        ("http: {host: 999.0.0.1}",
         ['http.host was "999.0.0.1", expected a host name or an IP address, such as 127.0.0.1, ::1 or localhost']),
        ("http: {allowed_origins: [https://a.example/path]}",
         [('http.allowed_origins[0] was "https://a.example/path", '
          "expected an origin such as https://desk.example.org, without a path")]),
        ("service: {data_dir: ''}", ['service.data_dir was "", expected a path']),
        ("service: {data_dir: ~nobody-here/data}",
         [('service.data_dir was "~nobody-here/data", expected a path; '
          "whose home directory this is, is not known here")]),
        ("accounts: [{exchange: none, rest_url: 'https://h:70000'}]",
         [('accounts[0].rest_url was "https://h:70000", '
          "expected a URL that starts with http:// or https://, with a port from 1 to 65535")]),
        ("accounts: [{exchange: none, opening: {balances: 5}}]",
         ['accounts[0].opening.balances was "5", expected keys with values']),
        ("service: {usd_assets: [USDT, 'U S']}",
         ['service.usd_assets[1] was "U S", expected the name of an asset, such as USDT']),
        ("metrics: {path: metrics}",
         ['metrics.path was "metrics", expected a path such as /metrics; / and /health are taken']),
        ("pubsub: {nats: {url: localhost:4222}}",
         [('pubsub.nats.url was "localhost:4222", '
          "expected a URL that starts with nats:// or tls:// or ws:// or wss://")]),
        ("pubsub: {topics: {alerts: trading.>}}",
         [('pubsub.topics.alerts was "trading.>", '
          "expected a NATS subject such as trading.fills, without wildcards and spaces")]),
        ("database: {url: mysql://h/db}",
         ['database.url was "mysql://h/db", expected sqlite, or a URI such as postgresql://user@host/database']),
        ("database: {url: postgresql://a..b/db}",
         [('database.url was "postgresql://a..b/db", '
          "expected host names or IP addresses, such as postgresql://user@db.example.org:5432/database")]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(check: Check, text: str, lines: list[str]) -> None:
    assert check(text) == [f"config.yaml:1: {line}" for line in lines]


def test_two_mistakes_of_each_kind_are_all_reported_and_structure_comes_first(check: Check) -> None:
    lines = check("""
accounts:
  - {name: main, exchange: none, api_kye_env: X}
  - {name: Main, exchange: none}
  - {name: a b, exchange: none}
  - {name: _unrouted, exchange: none}
  - {name: main, exchange: none, opening: {balances: {USDT: ten, USDC: 1_000}}}
http: {prot: 1, host: 10.0.0.1}
history: {retention: 90, compress_after: 1w}
database: [1]
logging: {level: loud, format: xml}
grpc: 7
pubsub: {nats: {credentials_file: /nowhere/a.creds, ca_file: /nowhere/ca.crt}}
cluster: {lease: postgres}
""")

    name = 'expected 1 to 64 letters, digits, "_" or "-", the first a letter or digit'
    assert lines == [
        "config.yaml:3: accounts[0].api_kye_env is not a known key; did you mean accounts[0].api_key_env?",
        f'config.yaml:5: accounts[2].name was "a b", {name}',
        (
            'config.yaml:6: accounts[3].name was "_unrouted", '
            "expected another name: this one is reserved for messages that name no configured account"
        ),
        'config.yaml:7: accounts[4].opening.balances.USDT was "ten", expected an amount',
        'config.yaml:7: accounts[4].opening.balances.USDC was "1_000", expected an amount',
        "config.yaml:8: http.prot is not a known key; did you mean http.port?",
        f'config.yaml:9: history.retention was "90", {DURATION}',
        f'config.yaml:9: history.compress_after was "1w", {DURATION}',
        "config.yaml:10: database was a list, expected keys with values",
        'config.yaml:11: logging.level was "loud", expected debug, info, warning or error',
        'config.yaml:11: logging.format was "xml", expected json or console',
        'config.yaml:12: grpc was "7", expected keys with values',
        'config.yaml:4: accounts[1].name was "Main", expected a name that accounts[0] does not have',
        'config.yaml:7: accounts[4].name was "main", expected a name that accounts[0] does not have',
        (
            'config.yaml:8: http.host was "10.0.0.1", '
            "expected 127.0.0.1, ::1 or localhost: without auth.tokens_file anyone could read; or"
            " name a file there, and make tokens with: account-monitor token create"
        ),
        (
            "config.yaml:13: pubsub.nats.credentials_file names /nowhere/a.creds, "
            "which cannot be read: No such file or directory"
        ),
        "config.yaml:13: pubsub.nats.ca_file names /nowhere/ca.crt, which cannot be read: No such file or directory",
    ]
    with pytest.raises(ConfigurationError) as caught:
        load_settings("config.yaml", {})
    assert str(caught.value) == lines[0]


def test_replicas_share_accounts_where_all_of_them_reach_the_history(check: Check) -> None:
    accounts, postgres = "accounts: [{name: main, exchange: none}]", "database: {url: 'postgresql://user@db/trading'}"
    sqlite = 'database.url was "sqlite", expected a URI of PostgreSQL: with cluster.lease'
    nats = "pubsub.nats.url was null, expected the address of a NATS server: cluster.lease nats keeps the leases there"

    assert check(f"{accounts}\ncluster: {{lease: postgres}}") == [
        f"config.yaml:1: {sqlite} postgres replicas share the history"
    ]
    assert check(f"{accounts}\ncluster: {{lease: nats}}\n{postgres}\npubsub: {{nats: {{url: null}}}}") == [
        f"config.yaml:4: {nats}"
    ]
    assert check(f"{accounts}\ncluster: {{lease: postgres}}\n{postgres}\npubsub: {{nats: {{url: null}}}}") == []
    assert check(f"{accounts}\ncluster: {{lease: nats}}\n{postgres}") == []


def test_a_default_that_stands_in_for_a_wrong_value_is_not_judged(check: Check) -> None:
    # Neither a second `main` nor the keys of the default exchange are missed here.
    (first, second) = check("accounts: [{name: '?', exchange: bybit}, {name: main, exchange: none}]")

    assert first.startswith("config.yaml:1: accounts[0].name was")
    assert second.startswith("config.yaml:1: accounts[0].exchange was")


# The file


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a: [1", "config.yaml:1: not YAML: expected ',' or ']', but got '<stream end>'"),
        (b"http: {port: 1}\nhttp: {}\n", "config.yaml:2: http is given twice, first in line 1"),
        (b"http:\n  port: 1\n  port: 2\n", "config.yaml:3: http.port is given twice, first in line 2"),
        (b"- a\n", "config.yaml:1: the configuration was a list, expected keys with values"),
        (b"text\n", 'config.yaml:1: the configuration was "text", expected keys with values'),
        (b"a: 1\n---\nb: 2\n", "config.yaml:2: a second document, expected one"),
        (b"# \xc3\xa9\n# \xff\n", "config.yaml:2: not UTF-8 text: byte 0xff"),
        (b"\x00", "config.yaml: not YAML: unacceptable character #x0000: special characters are not allowed"),
        (b"? [a]\n: 1\n", "config.yaml:1: a key that is not text"),
        (b"http: *x\n", "config.yaml:1: the alias *x names no anchor above it"),
        (b"http: &x [*x]\n", "config.yaml:1: the alias *x names no anchor above it"),
        (b"service: {name: !!python/object/apply:os.system [id]}",
         ('config.yaml:1: the tag "tag:yaml.org,2002:python/object/apply:os.system" is not allowed, '
         "every value is read as text")),
        (b"http: {port: !!int 1}",
         'config.yaml:1: the tag "tag:yaml.org,2002:int" is not allowed, every value is read as text'),
        (b"[" * 30, "config.yaml:1: nested deeper than 20 levels"),
        (b"x" * (MAX_BYTES + 1), "config.yaml: larger than 1048576 bytes, which no configuration needs"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_configuration_is_one_line(check: Check, content: bytes, line: str) -> None:
    assert check(content) == [line]


def test_a_billion_laughs_are_not_expanded(check: Check) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    (line,) = check("a0: &a0 [lol]\n" + "\n".join(levels))

    assert line == "config.yaml:6: more than 50000 values, an alias counted each time it is used"


def test_a_missing_file_and_a_directory_are_one_line(tmp_path: Path) -> None:
    assert check_settings(tmp_path / "none.yaml", {}) == [f"{tmp_path}/none.yaml: no such file"]
    assert check_settings(tmp_path, {}) == [f"{tmp_path}: a directory, expected a YAML file"]
    assert check_settings("a\0b", {}) == ["a\\x00b: cannot be read: embedded null byte"]


def test_a_byte_order_mark_is_no_mistake(check: Check) -> None:
    assert check(b"\xef\xbb\xbfhttp: {port: 81}") == []


def test_what_is_shown_stays_on_one_bounded_line(check: Check) -> None:
    (line,) = check(r'http: {port: "\n\e[31m\u2028' + "x" * 200 + '"}')

    assert line.startswith(r'config.yaml:1: http.port was "\n\x1b[31m\u2028xxxx')
    assert len(line) < 200


# The environment


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("HTTP__PORT", "x", f'http.port was "x", {PORT}'),
        ("HTTP__PORT", "", f"http.port was null, {PORT}"),
        ("HTTP__PROT", "1", "http.prot is not a known key; did you mean http.port?"),
        ("HTTP____PORT", "1", "http. is not a known key; known here: host, port, "),
        ("ACCOUNTS__1__X", "1", "accounts[1].x is not a known key; known here: name, "),
        ("HTTP__PORT__X", "1", "http.port has one value, and no key X below it"),
        ("ACCOUNTS__2__NAME", "x", "accounts has no item 2, expected a number from 0 to 1, the next free one"),
        ("ACCOUNTS__FIRST__NAME", "x", "accounts has no item FIRST, expected a number from 0 to 1, the next free one"),
        ("SERVICE__USD_ASSETS", "USD", 'service.usd_assets was "USD", expected a list such as [a, b]'),
        ("HTTP", "{port: 1, port: 2}", "port is given twice, first in line 1"),
        ("HTTP", "{port: 1", "not YAML: expected ',' or '}', but got '<stream end>'"),
        ("HTTP", "!x {}", 'the tag "!x" is not allowed'),
    ],
)  # fmt: skip
def test_a_variable_is_named_in_its_mistake(check: Check, variable: str, text: str, line: str) -> None:
    lines = check("accounts: [{exchange: none}]", {f"ACCOUNT_MONITOR__{variable}": text})

    assert len(lines) == 1
    assert lines[0].startswith(f"environment variable ACCOUNT_MONITOR__{variable}:")
    assert line in lines[0]


def test_a_variable_that_is_set_in_two_cases_is_refused(check: Check) -> None:
    environ = {"ACCOUNT_MONITOR__HTTP__PORT": "1", "account_monitor__http__port": "2"}

    assert check("", environ) == [
        "environment variable account_monitor__http__port: set before in another case, expected one of them"
    ]


def test_a_variable_below_a_wrong_value_is_refused(check: Check) -> None:
    assert check("http: text", {"ACCOUNT_MONITOR__HTTP__PORT": "1"})[0] == (
        'environment variable ACCOUNT_MONITOR__HTTP__PORT: http was "text" before it, expected keys with values'
    )


@pytest.mark.parametrize("port", ["h:abc", "h:0", "h:65536", "a:1,b:x", "::1", "/db?port=abc", "/db?host=h&port=1,0"])
def test_a_port_of_a_database_that_cannot_be_is_refused(check: Check, port: str) -> None:
    assert (
        "(value not shown), expected a port from 1 to 65535" in check(f"database: {{url: 'postgresql://u@{port}'}}")[0]
    )


@pytest.mark.parametrize("host", ["a..b", "a,", "[::g]", "[::1", "h%00", "/db?host=a..b", "/db?host=a,"])
def test_a_host_of_a_database_that_cannot_be_is_refused(check: Check, host: str) -> None:
    first = check(f"database: {{url: 'postgresql://u@{host}'}}")[0]

    assert "(value not shown), expected host names or IP addresses, such as postgresql://" in first


# Secrets


@pytest.mark.parametrize(
    ("text", "right_way"),
    [
        ("accounts: [{api_key: hunter2}]", "accounts[0].api_key_env, or a file in accounts[0].api_key_file"),
        ("accounts: [{secret: hunter2}]", "accounts[0].secret_key_env, or a file in accounts[0].secret_key_file"),
        ("database: {password: hunter2}", "database.password_env, or a file in database.password_file"),
        ("http: {token: hunter2}", "keys ending in _env and _file name"),
        ("alerts: {channels_env: 'slack://hunter2'}", "expected the name of an environment variable"),
        ("accounts: [{exchange: none, api_key_env: " + "hunter2" * 9 + "}]", "not the secret itself"),
        ("database: {url: 'postgresql://u:hunter2@h/db'}", "in password_env, or a file in password_file"),
        ("database: {url: 'postgresql://u:hun@hunter2@h/db'}", "expected sqlite"),
        ("database: {url: 'postgresql://h/db?password=hunter2'}", "in password_env, or a file in password_file"),
        ("database: {redis_url: 'redis://:hunter2@h'}", "in redis_password_env, or a file in redis_password_file"),
        ("database: {redis_url: 'redis://u:hun/ter@hunter2@h'}", "in redis_password_env"),
        ("database: {redis_url: 'redis://h?password=hunter2'}", "in redis_password_env"),
        ("database: {redis_url: 'redis://h?username=hunter2'}", "expected a URL such as redis://"),
        ("pubsub: {nats: {url: 'nats://hunter2@h'}}", "credentials_file"),
        ("pubsub: {nats: {url: 'nats://a,nats://u:hunter2@h'}}", "credentials_file"),
        ("accounts: [{exchange: none, rest_url: 'https://u:hunter2@h'}]", "names no user and no password"),
        ("service: {name: 'https://u:hunter2@h'}", "expected 1 to 64 letters"),
    ],
)
def test_a_secret_in_the_file_is_refused_with_the_right_way_and_never_shown(
    check: Check, text: str, right_way: str
) -> None:
    first = check(text)[0]

    assert right_way in first
    assert "hunter2" not in "\n".join(check(text))


def test_a_secret_that_is_not_there_names_the_variable(check: Check) -> None:
    text = "accounts: [{exchange: binance-usdm, secret_key_env: MY_SECRET}]"

    assert check(text, {"MY_SECRET": " "})[-2:] == [
        "config.yaml:1: accounts[0].api_key_env names the environment variable BINANCE_API_KEY, which is not set",
        "config.yaml:1: accounts[0].secret_key_env names the environment variable MY_SECRET, which is empty",
    ]
    assert check("accounts: [{api_key_env: null}]", {"BINANCE_SECRET_KEY": "s"})[-1] == (
        "config.yaml:1: accounts[0].api_key_env was null, "
        "expected the name of an environment variable: binance-usdm needs it"
    )


def test_a_secret_file_is_read_or_named(check: Check) -> None:
    Path("empty").write_bytes(b"\n")
    Path("binary").write_bytes(b"\xff")
    Path("key").write_bytes(b"secret\n")
    environ = {"BINANCE_SECRET_KEY": "s"}

    def last(api_key: str) -> str:
        (line,) = check(f"accounts: [{{{api_key}}}]", environ)
        return line

    bounds = "expected UTF-8 text of at most 65536 bytes in it"
    assert last("api_key_file: none.txt").endswith("names none.txt, which cannot be read: No such file or directory")
    assert last("api_key_file: empty").endswith(f"names empty, {bounds}")
    assert last("api_key_file: binary").endswith(f"names binary, {bounds}")
    assert last("api_key_file: key, api_key_env: BOTH").endswith(
        "accounts[0].api_key_file stands beside accounts[0].api_key_env, expected one of the two"
    )
    assert check("accounts: [{api_key_file: key}]", environ) == []


# What does not go together


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "desk.example.org"])  # noqa: S104  # refused
def test_without_tokens_only_this_machine_may_ask(check: Check, host: str) -> None:
    assert len(check(f"http: {{host: '{host}'}}\ngrpc: {{host: '{host}'}}")) == 2
    assert check(f"metrics: {{host: '{host}'}}") == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_tokens(check: Check, host: str) -> None:
    assert check(f"http: {{host: '{host}'}}\ngrpc: {{host: '{host}'}}") == []


def test_two_doors_cannot_have_one_port(check: Check) -> None:
    assert check("http: {port: 9093}\ngrpc: {port: 9093}\nmetrics: {host: 0.0.0.0}") == [
        'config.yaml:1: http.port was "9093", expected a port that grpc.port does not take',
        'config.yaml:3: metrics.port was "9093", expected a port that grpc.port does not take',
        'config.yaml:3: metrics.port was "9093", expected a port that http.port does not take',
    ]
    assert check("http: {port: 9093}\nmetrics: {host: 192.168.1.5}") == []
    assert check("http: {port: 0}\ngrpc: {port: 0}\nmetrics: {port: 0}") == []


def test_what_is_said_cannot_be_heard_as_a_fill(check: Check) -> None:
    assert check("pubsub: {topics: {pnl_updates: trading.fills, alerts: trading.fills.main}}") == [
        (
            'config.yaml:1: pubsub.topics.alerts was "trading.fills.main", '
            "expected a subject that pubsub.topics.fill_events does not cover"
        ),
        (
            'config.yaml:1: pubsub.topics.pnl_updates was "trading.fills", '
            "expected a subject that pubsub.topics.fill_events does not cover"
        ),
    ]


def test_an_opening_is_for_accounts_without_an_exchange(check: Check) -> None:
    lines = check("accounts: [{exchange: binance-usdm, opening: {balances: {}}}]")

    assert lines[0] == (
        "config.yaml:1: accounts[0].opening is for exchange: none only; "
        "binance-usdm states itself what the account holds"
    )


@pytest.mark.parametrize(
    ("opening", "line"),
    [
        ("{}", "opening says nothing, expected balances or positions, or null"),
        ("{at: 2026-11-22T12:00:00Z}", "opening says nothing, expected balances or positions, or null"),
        ("{at: yesterday, balances: {}}",
         'opening.at was "yesterday", expected a time such as 2026-11-22T12:00:00.000Z'),
        ("{at: 2026-02-30T12:00:00Z, balances: {}}",
         'opening.at was "2026-02-30T12:00:00Z", expected a time such as 2026-11-22T12:00:00.000Z'),
        ("{balances: {'U S': 1}}",
         "opening.balances.U S is not allowed as a key, expected the name of an asset, such as USDT"),
        ("{positions: {BTCUSDT: {quantity: 1}}}", "opening.positions.BTCUSDT.entry_price is missing"),
        ("{positions: {BTCUSDT: }}", "opening.positions.BTCUSDT was null, expected keys with values"),
        ("{positions: {BTCUSDT: {quantity: 1, entry_price: 0}}}",
         'opening.positions.BTCUSDT.entry_price was "0", expected a price above 0'),
        ("{positions: {BTCUSDT:LONG: {quantity: -1, entry_price: 1}}}",
         'opening.positions.BTCUSDT:LONG.quantity was "-1", expected a positive quantity of a LONG position'),
        ("{positions: {BTCUSDT:SHORT: {quantity: 1, entry_price: 1}}}",
         'opening.positions.BTCUSDT:SHORT.quantity was "1", expected a negative quantity of a SHORT position'),
        ("{positions: {BTCUSDT:BOTH: {quantity: 1, entry_price: 1}}}",
         ("opening.positions.BTCUSDT:BOTH is not allowed as a key, "
         "expected a symbol such as BTCUSDT, or BTCUSDT:LONG or BTCUSDT:SHORT in hedge mode")),
    ],
)  # fmt: skip
def test_an_opening_that_cannot_be_is_one_line(check: Check, opening: str, line: str) -> None:
    assert check(f"accounts: [{{exchange: none, opening: {opening}}}]") == [f"config.yaml:1: accounts[0].{line}"]

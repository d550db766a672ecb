"""What a log line says, what it hides, and that saying it never fails."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.config import LogFormat, LoggingSettings, LogLevel, Policy, Secret
from account_monitor.ledger.events import MarkPrice
from account_monitor.logs import MAX_TEXT, configure_logging, plain

AT_MS = 1_795_348_800_007  # 2026-11-22T12:00:00.007Z


class Log:
    """What was written since the last look."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def configure(self, level: LogLevel = LogLevel.INFO, log_format: LogFormat = LogFormat.JSON) -> Any:
        configure_logging(LoggingSettings(level=level, format=log_format), self.stream, clock=lambda: AT_MS)
        return structlog.get_logger()

    def text(self) -> str:
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def entry(self) -> dict[str, Any]:
        (entry,) = self.entries()
        return entry


@pytest.fixture
def log() -> Iterator[Log]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Log()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


# What a line says


def test_a_line_is_one_json_object_with_time_level_and_event_first(log: Log) -> None:
    log.configure().info("fill_recorded", account="main", seq=981)

    assert log.text() == (
        '{"timestamp": "2026-11-22T12:00:00.007Z", "level": "info", "event": "fill_recorded", '
        '"account": "main", "seq": 981}\n'
    )


def test_decimals_are_plain_fixed_point_text(log: Log) -> None:
    log.configure().info(
        "mark", price=Decimal("1E-8"), size=Decimal("1E+3"), fills=[MarkPrice("A", Decimal("1.50"), 7)]
    )

    entry = log.entry()
    assert (entry["price"], entry["size"]) == ("0.00000001", "1000")
    assert entry["fills"] == [{"symbol": "A", "price": "1.5", "at_ms": 7}]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Decimal("NaN"), "NaN"),
        (Decimal("1E+999999"), "1E+999999"),
        (float("inf"), "inf"),
        (10**100, "<integer of 333 bits>"),
        (Policy.ADJUST, "adjust"),
        (Path("/data"), "/data"),
        (datetime.fromisoformat("2026-11-22T13:00:00+01:00"), "2026-11-22T12:00:00.000Z"),
        (b"\xff", "b'\\xff'"),
        ({1: None}, {"1": None}),
        ("\ud800", "\\ud800"),
        ("x" * 100_000, "x" * MAX_TEXT + "…"),
        (ValueError("no"), "ValueError: no"),
    ],
)
def test_every_value_has_a_plain_form(value: object, said: object) -> None:
    assert plain(value) == said


def test_large_and_endless_values_are_cut_short() -> None:
    endless: list[object] = []
    endless.append(endless)

    assert plain(endless) == [[[[[["<list>"]]]]]]
    assert plain(list(range(105))) == [*range(100), "… 5 more"]


def test_what_is_below_the_level_is_not_said(log: Log) -> None:
    logger = log.configure(LogLevel.WARNING)
    logger.info("a")
    logging.getLogger("nats").info("b")
    logger.warning("c")

    assert [entry["event"] for entry in log.entries()] == ["c"]


def test_the_level_can_be_changed_while_a_logger_is_held(log: Log) -> None:
    logger = log.configure(LogLevel.ERROR)
    logger.info("before")
    log.configure(LogLevel.INFO)
    logger.info("after")

    assert [entry["event"] for entry in log.entries()] == ["after"]


def test_a_field_that_is_named_as_ours_is_kept_beside_it(log: Log) -> None:
    log.configure().info("alert", level="CRITICAL", timestamp="earlier")

    entry = log.entry()
    assert (entry["level"], entry["level_"]) == ("info", "CRITICAL")
    assert (entry["timestamp"], entry["timestamp_"]) == ("2026-11-22T12:00:00.007Z", "earlier")


# Other libraries


def test_the_standard_library_goes_through_the_same_pipe(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.configure()
        logging.getLogger("nats.aio").warning("lost %s:hunter2@%s", "nats://u", "host")
        warnings.warn("old", stacklevel=1)

    first, second = log.entries()
    assert first["logger"] == "nats.aio"
    assert (first["level"], first["event"]) == ("warning", "lost nats://u:***@host")
    assert second["logger"] == "py.warnings"


def test_requests_are_logged_only_at_debug(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)  # a server of another test said no
    log.configure(LogLevel.INFO)
    logging.getLogger("uvicorn.access").info("GET /health")
    log.configure(LogLevel.DEBUG)
    logging.getLogger("uvicorn.access").info("GET /ready")

    assert [entry["event"] for entry in log.entries()] == ["GET /ready"]


# Secrets


def test_secrets_are_hidden_by_type_and_by_name(log: Log) -> None:
    log.configure().info(
        "connected",
        key=Secret("hunter2"),
        api_key="hunter2",
        listenKey="hunter2",
        headers={"X-MBX-APIKEY": "hunter2", "Authorization": "Bearer hunter2", "Set-Cookie": "hunter2"},
        nested=[{"db_password": "hunter2"}, (Secret("hunter2"),)],
        api_key_env="BINANCE_API_KEY",
        token=None,
        has_password=True,
    )

    text = log.text()
    assert "hunter2" not in text
    entry = json.loads(text)
    assert entry["nested"] == [{"db_password": "***"}, ["***"]]
    assert (entry["api_key_env"], entry["token"], entry["has_password"]) == ("BINANCE_API_KEY", None, True)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://monitor:hunter2@db/account",
        "redis://:hunter2@cache:6379",
        "a nats://u:hun@hunter2@h, lost",
        "nats://u:12@34/hunter2@h",
        "nats://u:12/hunter2@h:4222",
        "wss://u:hunter2@127.0.0.1:9100/market/ws/!markPrice@arr@1s",
        "postgresql://u:base64/hunter2@db/account",
        "https://u:9100hunter2@h/",
        "host=db password=hunter2 user=x",
        "GET /fapi/v3/account?timestamp=1&signature=hunter2",
        "GET /ws?listenKey=hunter2&x=1",
        "authorization: Bearer am_0123456789ab_hunter2-_hunter2",
        "bearer.am_0123456789ab_hunter2_x offered",
    ],
)
def test_passwords_inside_texts_are_hidden(log: Log, text: str) -> None:
    logger = log.configure(LogLevel.DEBUG)
    logger.info(text, url=text)
    try:
        raise ConnectionError(text)
    except ConnectionError:
        logger.exception("failed", where=[text])

    written = log.text()
    assert "hunter2" not in written
    assert "***" in written


@pytest.mark.parametrize(
    "url",
    [
        "nats://user@host:4222/x?a=1",
        "ws://127.0.0.1:9100/market/ws/!markPrice@arr@1s",
        "wss://[::1]:9100/market/stream?streams=!markPrice@arr@1s",
        "wss://fstream.binance.com/market/ws/btcusdt@markPrice",
        "ws://h:9100?streams=!markPrice@arr",
    ],
)
def test_urls_without_a_password_stay_as_they_are(url: str) -> None:
    said = f"WebSocket {url}: ClientConnectorError"

    assert plain(said) == said


def test_a_password_is_hidden_and_the_rest_of_its_url_is_not() -> None:
    hidden = plain("WebSocket wss://u:hunter2@127.0.0.1:9100/ws/btcusdt@trade")

    assert hidden == "WebSocket wss://u:***@127.0.0.1:9100/ws/btcusdt@trade"


# Errors


def test_an_error_is_one_line_with_its_place_and_cause(log: Log) -> None:
    logger = log.configure()
    try:
        try:
            raise KeyError("BTCUSDT")
        except KeyError as error:
            raise ValueError("two\nlines") from error
    except ValueError:
        logger.exception("failed")

    entry = log.entry()
    place = r"\(test_logs\.py:\d+ in test_an_error_is_one_line_with_its_place_and_cause\)"
    assert entry["level"] == "error"
    assert re.fullmatch(rf"ValueError: two lines {place} <- KeyError: 'BTCUSDT' {place}", entry["exception"])
    assert "traceback" not in entry


def test_the_full_trace_is_there_at_debug(log: Log) -> None:
    logger = log.configure(LogLevel.DEBUG)
    try:
        raise ValueError("x")
    except ValueError:
        logger.exception("failed")

    assert "Traceback (most recent call last):\n" in log.entry()["traceback"]


def test_a_group_names_its_errors(log: Log) -> None:
    log.configure().error("failed", exc_info=ExceptionGroup("tasks", [ValueError("a"), OSError("b")]))

    assert log.entry()["exception"] == ("ExceptionGroup: tasks (2 sub-exceptions) <- ValueError: a <- OSError: b")


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_broken_value_never_raises(log: Log, log_format: LogFormat) -> None:
    logger = log.configure(LogLevel.DEBUG, log_format)

    logger.info(Broken(), value=Broken(), nested={Broken(): [Broken()]})
    logger.error("failed", exc_info=BrokenError())
    logger.error("failed", exc_info="nonsense")  # noqa: LOG014  # the mistake is meant
    logging.getLogger("x").error("%d and %s", "text", Broken())

    text = log.text()
    assert "<Broken that cannot be shown>" in text
    assert "BrokenError: <message that cannot be shown>" in text
    assert "%d and %s" in text


def test_a_line_that_cannot_be_made_says_so(log: Log) -> None:
    configure_logging(LoggingSettings(), log.stream, clock=lambda: 10**30)

    structlog.get_logger().info("event")

    assert log.entry() == {"level": "error", "event": "log_line_failed", "exception": "OverflowError"}


def test_a_stream_that_is_gone_loses_the_line_and_nothing_else(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    logger = log.configure()
    log.stream.close()

    logger.info("lost")
    logging.getLogger("x").error("lost too")

    assert capsys.readouterr() == ("", "")  # nor is there a traceback of the logging
    log.stream = io.StringIO()
    log.configure().info("kept")
    assert log.entry()["event"] == "kept"


def test_a_stream_that_does_not_know_the_letters_gets_escapes() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    configure_logging(LoggingSettings(), stream, clock=lambda: AT_MS)
    try:
        structlog.get_logger().info("é")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()

    assert b'"event": "\\xe9"' in written.getvalue()


# For people


def test_the_console_shows_one_readable_line(log: Log) -> None:
    log.configure(log_format=LogFormat.CONSOLE).warning(
        "drift_found", account="main", by=Decimal("0.10"), cause="late fill"
    )

    assert log.text() == '12:00:00.007 warning  drift_found account=main by=0.1 cause="late fill"\n'


def test_the_console_shows_no_control_characters(log: Log) -> None:
    log.configure(log_format=LogFormat.CONSOLE).info("a\x1b[31m\nb", text="c\r\x07")

    line, end = log.text().split("\n")
    assert line.isprintable()
    assert end == ""


odd_decimals = st.sampled_from(
    [Decimal("NaN"), Decimal("sNaN1"), Decimal("-Infinity"), Decimal("-0"), Decimal("1E-900")]
)
decimals = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(), st.integers(0, 200))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | decimals
        | odd_decimals
        | st.text()
        | st.binary()
        | st.datetimes(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.frozensets(st.text()),
    )
)
def test_every_value_becomes_json(value: object) -> None:
    json.dumps(plain(value), allow_nan=False).encode("utf-8")

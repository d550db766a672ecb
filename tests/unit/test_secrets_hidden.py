"""Secrets do not come out: not of logs, errors or refusals, however a library puts them into words."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from account_monitor.api.problems import BAD_PARAMETER, Refused
from account_monitor.config import LoggingSettings, LogLevel, Secret, Settings
from account_monitor.config.secrets import hide_passwords, shown
from account_monitor.errors import ConfigurationError
from account_monitor.logs import configure_logging

SECRET = "hunter2-s3cr3t.Value"

TEXTS = [
    f"GET /api/account failed: Authorization: Bearer {SECRET}",
    f"headers: {{'Authorization': 'Bearer {SECRET}', 'Accept': '*/*'}}",
    f'{{"authorization": "{SECRET}"}}',
    f"authorization=Basic {SECRET}",
    f"sent bearer {SECRET}; was refused",
    f"X-MBX-APIKEY: {SECRET}",
    f"Set-Cookie: {SECRET}; Path=/",
    f"postgresql://watcher:{SECRET}@db.example.org:5432/history?sslmode=require",
    f"redis://default:{SECRET}@cache:6379/0 refused",
    f"rediss://:{SECRET}@cache:6379/0",
    f"nats://ann:{SECRET}@bus:4222",
    f"mailto://ann:{SECRET}@example.org?to=bob",
    f"https://ann:{SECRET}@hook.example.org/alerts",
    f"password={SECRET}&sslmode=require",
    f"token={SECRET}",
    f"https://fapi.example.org/fapi/v1/order?symbol=BTCUSDT&signature={SECRET}",
]

each_text = pytest.mark.parametrize("text", TEXTS)


@each_text
def test_a_text_is_shown_without_its_secret(text: str) -> None:
    assert SECRET not in hide_passwords(text)
    assert SECRET not in shown(text, limit=4096)


@each_text
def test_a_log_line_is_written_without_it(text: str) -> None:
    stream = io.StringIO()
    configure_logging(LoggingSettings(level=LogLevel.DEBUG), stream)
    log = structlog.get_logger()

    log.error("failed", reason=text, error=ConnectionError(text), nested={"tried": [text]})
    try:
        raise ConnectionError(text)
    except ConnectionError:
        log.exception("failed")

    lines = stream.getvalue()
    assert SECRET not in lines
    assert [json.loads(line)["event"] for line in lines.splitlines()] == ["failed", "failed"]


@pytest.mark.parametrize(
    "text",
    [
        "basic information about the account",
        "the bearer of this letter",
        "authorization failed",
        "https://example.org/a@b",
        "a token is needed",
        "Basic authentication is required",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert hide_passwords(text) == text


def test_settings_show_no_secret() -> None:
    secret = Secret(SECRET)
    settings = Settings()
    settings = settings._replace(database=settings.database._replace(password=secret, redis_password=secret))

    assert SECRET not in f"{settings!r} {settings} {secret} {secret!r} {secret:>20}"


def test_what_is_refused_says_what_was_given_and_no_more() -> None:
    refusal = Refused(BAD_PARAMETER, f"token: was {shown(f'Bearer {SECRET}')}")

    assert SECRET.encode() not in refusal.reply("/api/account").body


def test_an_error_of_the_configuration_keeps_a_secret_to_itself() -> None:
    from account_monitor.config import load_settings

    environ = {"ACCOUNT_MONITOR__DATABASE__URL": f"postgresql://ann:{SECRET}@host/db"}

    with pytest.raises(ConfigurationError) as refused:
        load_settings(None, environ)

    assert SECRET not in str(refused.value)

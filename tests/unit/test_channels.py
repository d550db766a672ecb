"""Channels: what a list means, what is wrong with it, and that no secret of it is ever shown."""

from __future__ import annotations

import pytest

from account_monitor.config.secrets import Secret
from account_monitor.config.settings import AlertSettings
from account_monitor.errors import ChannelFailed, ConfigurationError
from account_monitor.ledger.alerts import Severity
from account_monitor.notifiers.channels import MAX_CHANNELS, MAX_HANGING, channel_problems, channels_of
from account_monitor.notifiers.letters import Letter

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#desk"
TELEGRAM = "tgram://123456789:ABCdef_ghijklmnopqrstuvwxyz123456/12345"


def settings(text: str) -> AlertSettings:
    return AlertSettings()._replace(channels_env="CHANNELS", channels=Secret(text))


def names(text: str) -> list[str]:
    return [channel.name for channel in channels_of(settings(text))]


@pytest.mark.parametrize(
    "text",
    [
        f"{SLACK} json://a.example json://b.example",
        f"{SLACK}\njson://a.example\njson://b.example",
        f"{SLACK}, json://a.example,json://b.example,",
        f"# the desk\n{SLACK}\n\n  # what it was: json://old.example\njson://a.example\njson://b.example\n",
    ],
)
def test_a_list_is_separated_by_spaces_lines_or_commas(text: str) -> None:
    assert names(text) == ["slack", "json", "json #2"]


def test_a_comma_within_a_url_belongs_to_it() -> None:
    assert names("mailtos://user:pw@example.org?to=a@example.org,b@example.org") == ["mailtos"]


def test_a_pager_is_told_of_what_is_severe_enough() -> None:
    found = channels_of(settings(f"json://a.example, critical={SLACK}\nWarning=json://b.example"))

    assert [(channel.name, channel.least) for channel in found] == [
        ("json", None), ("slack", "CRITICAL"), ("json #2", "WARNING"),
    ]  # fmt: skip
    severities: tuple[Severity, ...] = ("INFO", "WARNING", "CRITICAL")
    assert [[severity for severity in severities if channel.wants(severity)] for channel in found] == [
        ["INFO", "WARNING", "CRITICAL"], ["CRITICAL"], ["WARNING", "CRITICAL"],
    ]  # fmt: skip


def test_what_a_channel_is_told_of_makes_no_other_channel_of_it() -> None:
    assert channels_of(settings(SLACK))[0].digest == channels_of(settings(f"critical={SLACK}"))[0].digest


def test_the_same_url_twice_is_one_channel() -> None:
    assert names("json://a.example json://a.example") == ["json"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("json://s3cret critical=json://s3cret", "entry 2 of CHANNELS is the URL of entry 1, with critical= before it"),
        (
            "warning=json://s3cret json://b json://s3cret",
            "entry 3 of CHANNELS is the URL of entry 1, with nothing before",
        ),
    ],
)
def test_the_same_url_with_another_urgency_is_refused(text: str, line: str) -> None:
    (problem,) = channel_problems(settings(text))

    assert problem.startswith(f"alerts.channels_env: {line}")
    assert "s3cret" not in problem
    with pytest.raises(ConfigurationError, match="list each URL once"):
        channels_of(settings(text))


def test_nothing_configured_is_no_channel() -> None:
    assert channels_of(AlertSettings()) == ()


def test_a_digest_tells_urls_apart_and_stays() -> None:
    first, second = channels_of(settings("json://a.example json://b.example"))
    (again,) = channels_of(settings("json://b.example"))

    assert first.digest != second.digest == again.digest
    assert again.name == "json"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("slack://hunter2", "entry 1 of CHANNELS (slack://…) is no URL"),
        ("json://a.example fax://hunter2", "entry 2 of CHANNELS (fax://…) is no URL"),
        ("hunter2", "entry 1 of CHANNELS is no URL"),
    ],
)
def test_what_is_no_channel_is_named_without_its_secret(text: str, line: str) -> None:
    (problem,) = channel_problems(settings(text))

    assert problem.startswith(f"alerts.channels_env: {line} that Apprise understands")
    assert "hunter2" not in problem
    with pytest.raises(ConfigurationError, match="entry"):
        channels_of(settings(text))


def test_too_many_channels_are_refused() -> None:
    many = " ".join(f"json://a.example/{number}" for number in range(MAX_CHANNELS + 1))

    (problem,) = channel_problems(settings(many))
    assert problem == "alerts.channels_env: CHANNELS lists 51 channels, expected at most 50; leave some out"


@pytest.mark.parametrize("text", ["# json://a.example\n", " \n,\n"])
def test_a_list_of_nothing_is_refused_for_nobody_would_be_told(text: str) -> None:
    (problem,) = channel_problems(settings(text))

    assert problem == (
        "alerts.channels_env: CHANNELS lists no channel; write one URL a line, such as"
        " jsons://hooks.example.org/monitor, or remove the key"
    )


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("urgent=json://hunter2", "before a URL stands critical=, warning= or nothing, but not urgent="),
        ("critical=", "behind critical= comes the URL, without a space, such as critical=jsons://"),
        ("warning= json://a.example", "behind warning= comes the URL, without a space, such as warning=jsons://"),
        ("slack//hunter2", "it begins with the name of a service and ://, such as jsons://"),
        ("critical:json//hunter2", "it begins with the name of a service and ://, such as jsons://"),
        ("https://hunter2.example/x", "a webhook is written as jsons:// instead of https://"),
        ("http://hunter2.example/x", "a webhook is written as json:// instead of http://"),
        ("fax://hunter2", "it has no service fax; https://appriseit.com/services/ lists those that it has"),
        ("slack://hunter2", "expected slack://{token_a}/{token_b}/{token_c}, with @, / and spaces within a password"),
    ],
)
def test_what_is_no_channel_is_told_what_to_write_instead(text: str, advice: str) -> None:
    problem = channel_problems(settings(text))[0]

    assert problem.startswith("alerts.channels_env: entry 1 of CHANNELS")
    assert f" is no URL that Apprise understands: {advice}" in problem
    assert problem.endswith("; docs/alerts.md shows some")
    assert "hunter2" not in problem


def test_a_channel_does_not_show_its_url() -> None:
    (channel,) = channels_of(settings(SLACK))

    assert repr(channel) == "Channel(slack)"


async def test_why_a_channel_failed_is_said_with_its_host() -> None:
    (channel,) = channels_of(settings("json://anna:hunter2@127.0.0.1:9/s3cret?x=t0ken"))

    with pytest.raises(ChannelFailed, match=r"to 127\.0\.0\.1: connection refused") as caught:
        await channel.send(Letter("title", "body"))
    assert not {"anna", "hunter2", "s3cret", "t0ken"} & set(str(caught.value).split())


@pytest.mark.parametrize("url", [SLACK, TELEGRAM, "json://anna:hunter%32@host.example/s3cret"])
def test_no_part_of_a_url_is_in_what_is_said_of_it(url: str) -> None:
    (channel,) = channels_of(settings(url))
    told = [(30, f"cannot reach {url}, as hunter2"), (10, f"Connection refused by {url}")]

    reason = channel._reason(told)

    secrets = ("T1JJ3T3L2", "A1BRTD4JD", "TIiajk", "ABCdef", "12345", "anna", "hunter%32", "s3cret")
    assert [secret for secret in secrets if secret in reason] == []
    assert ("hunter2" in reason) == ("hunter" not in url)
    assert reason.endswith(": connection refused")


async def test_without_a_thread_a_channel_fails_and_keeps_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    (channel,) = channels_of(settings("json://127.0.0.1:9"))
    with monkeypatch.context() as starved:
        starved.setattr("account_monitor.notifiers.channels.start_new_thread", refuse)
        for _ in range(2 * MAX_HANGING):
            with pytest.raises(ChannelFailed, match=r"^no thread to send it in: can't start new thread$"):
                await channel.send(Letter("title", "body"))

    with pytest.raises(ChannelFailed, match="connection refused"):
        await channel.send(Letter("title", "body"))

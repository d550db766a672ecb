"""People as users configure them: kills, reloads, and what the commands say about channels."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.nats_server import NatsServer, add_stream, publish
from tests.integration.service import Service, free_port
from tests.integration.trading_desk import eventually
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration


def configured(folder: Path, nats_url: str | None, *urls: str) -> Service:
    """Return a service whose file of channels names these."""
    service = Service(folder, nats_url)
    channels = folder / "channels"
    channels.write_text("\n".join(urls))
    service.document["alerts"] = {"channels_file": str(channels)}
    return service


async def test_a_service_that_is_killed_between_journal_and_channel_loses_nothing_and_repeats_one_at_most(
    tmp_path: Path, server: NatsServer, hook: Webhook
) -> None:
    service = configured(tmp_path, server.url, hook.url)
    client = await server.connect()
    await add_stream(client.jetstream())
    await asyncio.to_thread(service.start)
    await publish(client, [b"no fill"])
    hook.hangs = True  # it is in the journal, and on its way
    await eventually(lambda: hook.attempts == 1, timeout_seconds=10)
    service.kill()
    hook.hangs = False
    try:
        await asyncio.to_thread(service.start)
        await hook.until(1)
        await asyncio.sleep(1.5)
        _, listed = await asyncio.to_thread(service.get, "/api/alerts")
    finally:
        await asyncio.to_thread(service.stop)
        await client.close()

    (alert,) = listed["alerts"]
    assert hook.ids in ([f"{alert['id']}:0"], [f"{alert['id']}:0"] * 2)
    assert "s3cret" not in service.log_file.read_text()


async def test_a_restart_repeats_nothing(tmp_path: Path, server: NatsServer, hook: Webhook) -> None:
    service = configured(tmp_path, server.url, hook.url)
    client = await server.connect()
    await add_stream(client.jetstream())
    await asyncio.to_thread(service.start)
    await publish(client, [b"no fill"])
    await hook.until(1)
    assert await asyncio.to_thread(service.stop) == 0
    await asyncio.to_thread(service.start)
    await asyncio.sleep(1.5)
    assert await asyncio.to_thread(service.stop) == 0
    await client.close()

    assert len(hook.posts) == 1
    assert "s3cret" not in service.log_file.read_text()


async def test_a_letter_on_its_way_at_the_stop_arrives_and_is_not_told_again(
    tmp_path: Path, server: NatsServer, hook: Webhook
) -> None:
    service = configured(tmp_path, server.url, hook.url)
    client = await server.connect()
    await add_stream(client.jetstream())
    await asyncio.to_thread(service.start)
    hook.hangs = True
    await publish(client, [b"no fill"])
    await eventually(lambda: hook.attempts == 1, timeout_seconds=10)
    stopping = asyncio.create_task(asyncio.to_thread(service.stop))
    await asyncio.sleep(0.5)
    hook.hangs = False
    assert await stopping == 0
    assert len(hook.posts) == 1
    await asyncio.to_thread(service.start)
    await asyncio.sleep(1.5)
    assert await asyncio.to_thread(service.stop) == 0
    await client.close()

    assert len(hook.posts) == 1


async def test_a_channel_that_hangs_keeps_no_service_from_stopping(
    tmp_path: Path, server: NatsServer, hook: Webhook
) -> None:
    service = configured(tmp_path, server.url, hook.url)
    client = await server.connect()
    await add_stream(client.jetstream())
    await asyncio.to_thread(service.start)
    hook.hangs = True
    await publish(client, [b"no fill"])
    await eventually(lambda: hook.attempts == 1, timeout_seconds=10)
    assert await asyncio.to_thread(service.stop) == 0
    await client.close()


async def test_a_reload_takes_over_channels_and_an_error_keeps_what_was(
    tmp_path: Path, server: NatsServer, hook: Webhook
) -> None:
    service = configured(tmp_path, server.url)
    del service.document["alerts"]
    client = await server.connect()
    await add_stream(client.jetstream())
    await asyncio.to_thread(service.start)
    try:
        (tmp_path / "channels").write_text(hook.url)
        service.document["alerts"] = {"channels_file": str(tmp_path / "channels")}
        service.write_config()
        await eventually(lambda: '"channels_served"' in service.log_file.read_text(), timeout_seconds=10)
        (tmp_path / "channels").write_text("slack://hunter2")
        service.document["logging"] = {"level": "debug"}
        service.write_config()
        await eventually(lambda: '"reload_refused"' in service.log_file.read_text(), timeout_seconds=10)
        await publish(client, [b"no fill"])
        await hook.until(1)
    finally:
        await asyncio.to_thread(service.stop)
        await client.close()

    told = service.log_file.read_text()
    refused = json.loads(next(line for line in told.splitlines() if '"reload_refused"' in line))
    assert refused["reason"].startswith("alerts.channels_file: entry 1 of ")
    assert "hunter2" not in told


async def test_an_account_that_comes_back_together_with_its_channel_repeats_nothing_there(
    tmp_path: Path, server: NatsServer, hook: Webhook
) -> None:
    service = configured(tmp_path, server.url, hook.url)
    both = service.document["accounts"] = [{"name": name, "exchange": "none"} for name in ("main", "alt")]
    client = await server.connect()
    await add_stream(client.jetstream())

    async def reload(accounts: list[dict[str, str]], url: str, count: int) -> None:
        (tmp_path / "channels").write_text(url)
        service.document["accounts"] = accounts
        service.write_config()
        await eventually(lambda: service.log_file.read_text().count('"reloaded"') == count, timeout_seconds=15)

    await asyncio.to_thread(service.start)
    try:
        await publish(client, [b"no fill"], "trading.fills.alt")
        await hook.until(1)
        await reload(both[:1], f"json://127.0.0.1:{free_port()}/elsewhere", 1)
        await asyncio.sleep(1.5)
        await reload(both, hook.url, 2)
        await asyncio.sleep(2.5)
        again = [title for title in hook.titles[1:] if " alt " in title]
        await publish(client, [b'{"id":"1"}', b"no fill either"], "trading.fills.main")
        await eventually(lambda: any(" main MALFORMED_EVENT" in title for title in hook.titles), timeout_seconds=10)
    finally:
        await asyncio.to_thread(service.stop)
        await client.close()

    assert again == []


async def test_the_log_shows_no_secret_even_at_debug(tmp_path: Path, server: NatsServer, hook: Webhook) -> None:
    service = configured(tmp_path, server.url, hook.url)
    service.document["logging"] = {"level": "debug"}
    client = await server.connect()
    await add_stream(client.jetstream())
    await asyncio.to_thread(service.start)
    hook.status = 500
    await publish(client, [b"no fill"])
    await eventually(lambda: hook.attempts >= 2, timeout_seconds=10)
    await asyncio.to_thread(service.stop)
    await client.close()

    assert "channel_failed" in service.log_file.read_text()
    assert "s3cret" not in service.log_file.read_text()


async def test_alerts_test_tries_every_channel_and_says_what_became_of_each(tmp_path: Path, hook: Webhook) -> None:
    nobody = f"json://127.0.0.1:{free_port()}/hunter2"
    service = configured(tmp_path, None, hook.url, nobody)
    service.write_config()

    done = await asyncio.to_thread(service.command, "alerts", "test", "--config", str(service.config_file))

    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == [
        "FAILED   json #2: A Connection error occurred sending JSON notification to 127.0.0.1: connection refused",
        "ok       json",
    ]
    assert done.stderr == ""
    (post,) = hook.posts
    assert post.title.startswith("TEST of account-monitor on ")
    assert post.message.startswith("Alerts of main come this way. Sent 20")


async def test_alerts_test_is_content_when_all_are_reached(tmp_path: Path, hook: Webhook) -> None:
    service = configured(tmp_path, None, hook.url)
    service.write_config()

    done = await asyncio.to_thread(service.command, "alerts", "test", "--config", str(service.config_file))

    assert (done.returncode, done.stdout, done.stderr) == (0, "ok       json\n", "")


def test_alerts_test_without_channels_says_which_key_names_them(tmp_path: Path) -> None:
    service = Service(tmp_path, None)
    service.write_config()

    done = service.command("alerts", "test", "--config", str(service.config_file))

    assert done.returncode == 2
    assert done.stderr.startswith("account-monitor: alerts.channels_env: names no variable")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["check-config", "run"])
def test_a_channel_that_is_none_is_named_without_its_secret(tmp_path: Path, command: str) -> None:
    service = configured(tmp_path, None, "json://ok.example", "slack://hunter2")
    service.write_config()

    done = service.command(command, "--config", str(service.config_file))

    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "alerts.channels_file: entry 2 of" in line
    assert "(slack://…) is no URL that Apprise understands" in line
    assert "hunter2" not in done.stderr


def test_doctor_names_the_channels(tmp_path: Path) -> None:
    service = configured(tmp_path, None, "json://ok.example/hunter2")
    service.write_config()

    done = service.command("doctor", "--config", str(service.config_file))

    assert "people                 json, no heartbeat; to send a test: account-monitor alerts test" in done.stdout
    assert "hunter2" not in done.stdout


def test_doctor_says_which_channel_is_none(tmp_path: Path) -> None:
    service = configured(tmp_path, None, "slack://hunter2")
    service.write_config()

    done = service.command("doctor", "--config", str(service.config_file))

    assert done.returncode == 1
    assert "FAILED   people" in done.stdout
    assert "hunter2" not in done.stdout

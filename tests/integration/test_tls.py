"""TLS: who is served, what is shown, and what happens when the files change under a running service."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from account_monitor.api import server
from account_monitor.api.server import Doors
from account_monitor.api.tls import Certificates
from account_monitor.cli import run
from account_monitor.config import TlsSettings
from account_monitor.errors import ConfigurationError
from account_monitor.monitor.desk import Desk
from tests.certificates import Authority
from tests.integration.service import Service
from tests.integration.trading_desk import clock

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.02)


@asynccontextmanager
async def opened(settings: TlsSettings, **more: Any) -> AsyncIterator[Doors]:
    certificates = Certificates(settings, "http.tls")
    doors = Doors(
        Desk(clock, "1"),
        http_port=0,
        metrics_port=0,
        grpc_port=0,
        http_certificates=certificates,
        grpc_certificates=certificates,
        **more,
    )
    await doors.start()
    try:
        await doors.complete()
        yield doors
    finally:
        await doors.stop()


async def asked(doors: Doors, client: ssl.SSLContext, path: str = "/health") -> aiohttp.ClientResponse:
    async with aiohttp.ClientSession() as session, session.get(doors.http_url + path, ssl=client) as response:
        await response.read()
        return response


async def health(doors: Doors, client: ssl.SSLContext) -> dict[str, str]:
    check: dict[str, str] = (await (await asked(doors, client)).json())["checks"]["tls"]
    return check


async def until_health(doors: Doors, client: ssl.SSLContext, word: str) -> dict[str, str]:
    """Return the check once it says something."""
    async with asyncio.timeout(5):
        while word not in (check := await health(doors, client))["message"]:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.02)
        return check


def replace(old: TlsSettings, new: TlsSettings) -> None:
    """Put files in place of others, as a renewal does: one after the other."""
    for name in ("cert_file", "key_file"):
        getattr(new, name).replace(getattr(old, name))


async def test_http_is_served_over_tls_and_says_so_for_a_year(authority: Authority) -> None:
    async with opened(authority.issue()) as doors:
        response = await asked(doors, authority.client())

        assert doors.http_url.startswith("https://")
        assert doors.metrics_url.startswith("http://")
        assert response.status == 200
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        assert (await health(doors, authority.client()))["status"] == "healthy"


async def test_websockets_are_served_over_tls(authority: Authority) -> None:
    async with (
        opened(authority.issue()) as doors,
        aiohttp.ClientSession() as session,
        session.ws_connect(doors.http_url + "/ws", ssl=authority.client()) as socket,
    ):
        assert json.loads(await socket.receive_str())["type"] == "health"


async def test_handshakes_that_never_begin_are_counted_and_end(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 1.0)
    async with opened(authority.issue(), max_connections=10) as doors:
        turnstile = doors._servers[0].server_state.turnstile
        port = int(doors.http_url.rpartition(":")[2])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
        async with asyncio.timeout(0.9):
            gone = [asyncio.create_task(reader.read()) for reader, _ in silent]
            while sum(each.done() for each in gone) < 20:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
        assert (len(turnstile), turnstile.refused) == (10, 20)

        async with asyncio.timeout(3):
            await asyncio.gather(*gone, return_exceptions=True)
        assert len(turnstile) == 0
        for _ in range(11):
            assert (await asked(doors, authority.client())).status == 200
        for _, writer in silent:
            writer.close()
        last, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await last.read() == b""
    writer.close()


async def test_what_is_no_tls_is_cut_and_everyone_else_is_served(authority: Authority) -> None:
    async with opened(authority.issue(), max_connections=2) as doors:
        port = int(doors.http_url.rpartition(":")[2])
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.wait({asyncio.create_task(reader.read())})
            writer.close()
        assert (await asked(doors, authority.client())).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_older_than_tls_1_2_is_refused(authority: Authority) -> None:
    old = authority.client()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with opened(authority.issue()) as doors:
        with pytest.raises(aiohttp.ClientError):
            await asked(doors, old)


async def test_who_shows_no_certificate_where_one_is_asked_for_is_not_served(authority: Authority) -> None:
    settings = authority.issue()._replace(client_ca_file=authority.write())
    foreign = Authority(authority.folder / "foreign")
    foreign.folder.mkdir()
    async with opened(settings) as doors:
        assert (await asked(doors, authority.client(authority.person()))).status == 200
        for shown in (None, foreign.person()):
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await asked(doors, authority.client(shown))


async def test_new_files_are_taken_over_and_open_connections_stay(authority: Authority, tmp_path: Path) -> None:
    settings = authority.issue(days=20)
    (tmp_path / "new").mkdir()
    newer = Authority(tmp_path / "new")
    async with (
        opened(settings) as doors,
        aiohttp.ClientSession() as session,
        session.ws_connect(doors.http_url + "/ws", ssl=authority.client()) as socket,
    ):
        await socket.receive_str()
        replace(settings, newer.issue())

        async with asyncio.timeout(5):
            while True:
                try:
                    assert (await asked(doors, newer.client())).status == 200
                    break
                except aiohttp.ClientConnectorCertificateError:
                    await asyncio.sleep(0.02)

        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await asked(doors, authority.client())
        await socket.ping()
        assert not socket.closed


async def test_an_authority_that_is_taken_away_is_trusted_no_longer(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    people = authority.write("people")
    settings = authority.issue()._replace(client_ca_file=people)
    async with opened(settings) as doors:
        assert (await asked(doors, authority.client(authority.person()))).status == 200

        people.write_bytes(other.write().read_bytes())
        async with asyncio.timeout(5):
            while True:
                try:
                    assert (await asked(doors, authority.client(other.person()))).status == 200
                    break
                except (aiohttp.ClientError, ConnectionError):
                    await asyncio.sleep(0.02)

        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await asked(doors, authority.client(authority.person()))


async def test_who_asks_http_where_https_is_spoken_is_told_so(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(authority.issue()) as doors:
        url = doors.http_url.replace("https://", "http://")

        assert await asyncio.to_thread(run, ["status", "--url", url]) == 1

    assert "does it speak TLS? then https://" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cert_file", "key_file"])
async def test_a_broken_pair_keeps_the_old_one_and_says_so(authority: Authority, name: str) -> None:
    settings = authority.issue()
    whole = getattr(settings, name).read_bytes()
    async with opened(settings) as doors:
        getattr(settings, name).write_bytes(whole[: len(whole) // 2])

        check = await until_health(doors, authority.client(), f"http.tls.{name}: {getattr(settings, name)} ")
        assert check["status"] == "degraded"

        getattr(settings, name).write_bytes(whole)
        await until_health(doors, authority.client(), "the certificate is valid")


async def test_a_key_that_was_opened_to_others_is_not_taken_over(authority: Authority) -> None:
    settings = authority.issue()
    assert settings.key_file is not None
    async with opened(settings) as doors:
        settings.key_file.chmod(0o644)

        await until_health(doors, authority.client(), "chmod 600")


@pytest.mark.parametrize(("days", "said"), [(15, "is valid"), (13, "expires in 1"), (-1, "has expired")])
async def test_an_expiry_within_two_weeks_is_told(authority: Authority, days: int, said: str) -> None:
    async with opened(authority.issue(days=days)) as doors:
        client = authority.client()
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE

        check = await until_health(doors, client, said)

        assert check["status"] == ("healthy" if days > 14 else "degraded")
        async with aiohttp.ClientSession() as session, session.get(doors.metrics_url + "/metrics") as response:
            (line,) = [line for line in (await response.text()).splitlines() if line.startswith("tls_certificate_exp")]
        assert line.startswith('tls_certificate_expires_seconds{section="http.tls"}')
        assert float(line.split()[-1]) == pytest.approx(days * 86_400, abs=60)


def test_a_certificate_that_is_not_valid_yet_is_told(authority: Authority) -> None:
    certificates = Certificates(authority.issue(days=90, begins_in_days=2), "http.tls")

    told = certificates.expiry_text(int(time.time() * 1000))

    assert told is not None
    assert "server.crt is not valid before 20" in told
    assert certificates.expiry_text(int(time.time() * 1000) + 3 * DAY_MS) is None


@pytest.mark.parametrize(("days", "begins", "said"), [(-1, -1, "has expired"), (90, 2, "not valid before")])
def test_check_config_warns_of_what_clients_refuse(
    authority: Authority, capsys: pytest.CaptureFixture[str], days: int, begins: int, said: str
) -> None:
    settings = authority.issue(days=days, begins_in_days=begins)
    tls = {"cert_file": str(settings.cert_file), "key_file": str(settings.key_file)}
    config = authority.folder / "config.yaml"
    config.write_text(json.dumps({"accounts": [{"name": "main", "exchange": "none"}], "http": {"tls": tls}}))

    assert run(["check-config", "--config", str(config)]) == 0

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: http.tls.cert_file: {settings.cert_file} ")
    assert said in line


def test_of_a_pair_that_cannot_be_used_the_file_is_named(authority: Authority) -> None:
    good, other = authority.issue(), authority.issue(stem="other")
    assert good.cert_file is not None
    assert good.key_file is not None
    folder, junk = authority.folder / "folder", authority.folder / "junk.pem"
    folder.mkdir()
    junk.write_text("-----BEGIN CERTIFICATE-----\nanVuaw==\n-----END CERTIFICATE-----\n")
    broken = authority.folder / "broken.key"
    broken.touch(mode=0o600)
    broken.write_text("-----BEGIN PRIVATE KEY-----\nanVuaw==\n-----END PRIVATE KEY-----\n")
    told = {}
    for what, pair in {
        "swapped": good._replace(cert_file=good.key_file, key_file=good.cert_file),
        "of another": good._replace(key_file=other.key_file),
        "a folder": good._replace(key_file=folder),
        "no certificate": good._replace(cert_file=junk),
        "a certificate as key": good._replace(key_file=good.cert_file),
        "broken key": good._replace(key_file=broken),
    }.items():
        with pytest.raises(ConfigurationError) as refused:
            Certificates(pair, "http.tls")
        told[what] = str(refused.value)

    key, cert = f"http.tls.key_file: {authority.folder}", f"http.tls.cert_file: {authority.folder}"
    assert told["swapped"].startswith(f"{cert}/server.key holds no whole certificate in PEM; it holds a key: are")
    assert told["of another"].startswith(f"{key}/other.key is not the key of the first certificate in ")
    assert told["a folder"] == f"{key}/folder cannot be read: is a directory"
    assert told["no certificate"] == f"{cert}/junk.pem holds no X.509 certificate"
    assert told["a certificate as key"] == f"{key}/server.crt holds a certificate, and no private key in PEM"
    assert told["broken key"].startswith(f"{key}/broken.key cannot be used with ")


def test_the_first_of_a_chain_to_expire_counts(authority: Authority) -> None:
    settings = authority.issue(days=30)
    assert settings.cert_file is not None
    shorter = authority.issue(days=10, stem="intermediate").cert_file
    assert shorter is not None
    settings.cert_file.write_bytes(settings.cert_file.read_bytes() + shorter.read_bytes())

    left_ms = Certificates(settings, "http.tls").expires_ms - time.time() * 1000

    assert left_ms == pytest.approx(10 * DAY_MS, abs=60_000)


def test_an_expiry_after_2049_is_read(authority: Authority) -> None:
    settings = authority.issue(days=365 * 40)

    expires = datetime.fromtimestamp(Certificates(settings, "http.tls").expires_ms / 1000, UTC)

    assert expires.year in (2066, 2065)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o660])
def test_a_key_that_others_can_read_is_refused(authority: Authority, mode: int) -> None:
    settings = authority.issue()
    assert settings.key_file is not None
    settings.key_file.chmod(mode)

    with pytest.raises(ConfigurationError) as refused:
        Certificates(settings, "http.tls")

    assert str(refused.value) == (
        f"http.tls.key_file: {settings.key_file} can be read or written by others (mode {mode:04o});"
        " expected a key that is private: chmod 600, or 640 for a group"
    )


@pytest.mark.parametrize("name", ["cert_file", "key_file", "client_ca_file"])
def test_a_file_that_is_not_there_is_named(authority: Authority, name: str) -> None:
    settings = authority.issue()._replace(**{name: authority.folder / "nowhere.pem"})

    with pytest.raises(ConfigurationError, match=rf"http\.tls\.{name}: .*nowhere\.pem cannot be read: no such file"):
        Certificates(settings, "http.tls")


def test_an_encrypted_key_is_refused_rather_than_asked_for(authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization as form

    settings = authority.issue()
    assert settings.key_file is not None
    key = form.load_pem_private_key(settings.key_file.read_bytes(), None)
    encryption = form.BestAvailableEncryption(b"secret")
    settings.key_file.write_bytes(
        key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, encryption)
    )

    with pytest.raises(ConfigurationError, match="the key is encrypted"):
        Certificates(settings, "http.tls")


# -- gRPC --------------------------------------------------------------------------------------------------------------


async def is_answered(doors: Doors, trusted: Path, shown: TlsSettings | None = None) -> bool:
    """Whether gRPC answers a client that trusts an authority, and shows a certificate where it has one."""
    async with grpc.aio.secure_channel(doors.grpc_address, client_credentials(trusted, shown)) as channel:
        try:
            await health_stub(channel).Check(HealthCheckRequest(), timeout=3)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True


def client_credentials(trusted: Path, shown: TlsSettings | None) -> grpc.ChannelCredentials:
    if shown is None or shown.key_file is None or shown.cert_file is None:
        return grpc.ssl_channel_credentials(trusted.read_bytes())
    return grpc.ssl_channel_credentials(trusted.read_bytes(), shown.key_file.read_bytes(), shown.cert_file.read_bytes())


def health_stub(channel: grpc.aio.Channel) -> Any:
    return HealthStub(channel)


async def test_grpc_shows_the_same_and_takes_over_what_changes(authority: Authority, tmp_path: Path) -> None:
    settings = authority.issue()
    (tmp_path / "new").mkdir()
    newer = Authority(tmp_path / "new")
    async with opened(settings) as doors:
        assert await is_answered(doors, authority.write())

        replace(settings, newer.issue())
        async with asyncio.timeout(10):
            while not await is_answered(doors, newer.write()):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.02)

        assert not await is_answered(doors, authority.write())


async def test_grpc_asks_for_a_certificate_where_http_does(authority: Authority) -> None:
    settings = authority.issue()._replace(client_ca_file=authority.write())
    async with opened(settings) as doors:
        assert await is_answered(doors, authority.write(), authority.issue("ann@example.org", stem="ann"))
        assert not await is_answered(doors, authority.write())


@pytest.mark.slow
def test_commands_ask_over_tls_and_say_what_they_lack(authority: Authority, tmp_path: Path) -> None:
    tls = authority.issue()._replace(client_ca_file=authority.write())
    service = Service(tmp_path, None)
    service.document["http"]["tls"] = {name: str(file) for name, file in tls._asdict().items()}
    service.start(wait=False)
    asks = ("status", "--config", str(service.config_file), "--ca", str(authority.write()))
    try:
        service.wait_until(lambda: b'"service_started"' in service.log_file.read_bytes(), "started")

        shown = service.command(*asks, "--client-cert", str(authority.person()))
        untrusting = service.command("status", "--config", str(service.config_file))
        silent = service.command(*asks)
    finally:
        service.stop()

    assert shown.returncode == 0, shown.stderr
    assert "main" in shown.stdout
    assert untrusting.returncode == 1
    assert "certificate verify failed" in untrusting.stderr
    assert "--ca names whom to trust" in untrusting.stderr
    assert silent.returncode == 1

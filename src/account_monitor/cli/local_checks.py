"""Local checks: the data directory, the journals, NATS and Redis, looked at without changing anything."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from account_monitor.cli.findings import Finding, Outcome
from account_monitor.clock import now_ms
from account_monitor.config import (
    AlertSettings,
    DatabaseSettings,
    Exchange,
    NatsSettings,
    Settings,
    exposed_doors,
    exposed_files,
)
from account_monitor.errors import (
    ConfigurationError,
    FeedUnavailable,
    JournalError,
    StorageRefused,
    StorageUnavailable,
    TokensRefused,
)
from account_monitor.failures import reason
from account_monitor.feeds.connection import NATS_ERRORS, Connection
from account_monitor.feeds.jetstream import Stream, find_streams
from account_monitor.feeds.subjects import coverage
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import open_reader
from account_monitor.stores.tokens_file import TokensFile

NATS_SECONDS = 5.0
LITTLE_ROOM_BYTES = 1 << 30

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED


def check_data_dir(data_dir: Path) -> Finding:
    """Look whether journals can be written there, with a file that is gone at once."""
    name = "data directory"
    existing = next(folder for folder in (data_dir.absolute(), *data_dir.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        advice = "let the service's user write there, or set service.data_dir"
        return Finding(None, name, FAILED, f"{data_dir}: no file can be made in {existing}: {error.strerror}", advice)
    state = "writable" if existing == data_dir.absolute() else f"not there yet, will be made in {existing}"
    found = f"{data_dir}: {state}, {free / (1 << 30):,.1f} GiB free"
    if free < LITTLE_ROOM_BYTES:
        return Finding(None, name, WARNING, found, "make room: nothing is recorded on a full disk")
    return Finding(None, name, OK, found)


def check_certificates(settings: Settings) -> Iterator[Finding]:
    """Load what HTTP and gRPC would show, and look when it expires."""
    from account_monitor.api.tls import certificates_of

    for section, tls in (("http.tls", settings.http.tls), ("grpc.tls", settings.grpc.tls)):
        try:
            certificates = None if tls is None else certificates_of(tls, section)
        except ConfigurationError as error:
            yield Finding(None, "tls", FAILED, str(error), f"see {section}")
            continue
        if certificates is not None:
            soon = certificates.expiry_text(now_ms())
            found = f"{section}: valid for {certificates.days_left(now_ms())} days"
            yield Finding(None, "tls", OK if soon is None else WARNING, soon or found, "renew it" if soon else None)


def check_exposure(settings: Settings) -> Iterator[Finding]:
    """Look which files that hold secrets others can read, and which doors a network can read along at."""
    for problem in exposed_files(settings):
        yield Finding(None, "secrets", WARNING, problem, "chmod 600")
    for problem in exposed_doors(settings):
        yield Finding(None, "network", WARNING, problem)


def check_journal(data_dir: Path, account: str) -> Finding:
    """Open a journal for reading, whether or not a service is writing it."""
    path = journal_path(data_dir, account)
    if not path.exists():
        return Finding(
            account, "journal", OK, f"{path}: not there yet, it begins with the first start, from what the history has"
        )
    try:
        with open_reader(path) as reader:
            head = reader.head()
            if reader.account != account:
                found = f"{path} is the journal of account {reader.account}"
                return Finding(account, "journal", FAILED, found, "give the account its name, or move the file away")
    except (JournalError, OSError) as error:
        advice = "a copy can be put back with: account-monitor restore"
        return Finding(account, "journal", FAILED, str(error), advice)
    found = f"{path}: {head.seq:,} entries; `replay --verify` checks each"
    return Finding(account, "journal", OK, found)


async def check_nats(settings: Settings) -> list[Finding]:
    """Connect to NATS and look for the streams that hold fills."""
    nats = settings.pubsub.nats
    alone = [account.name for account in settings.accounts if account.exchange is Exchange.NONE]
    if nats.urls is None:
        if alone:
            found = f"switched off, and it is all that {', '.join(alone)} could hear of"
            return [Finding(None, "nats", FAILED, found, "set pubsub.nats.url, or an exchange")]
        return [Finding(None, "nats", OK, "switched off")]
    if nats.credentials_file is not None and importlib.util.find_spec("nkeys") is None:
        found = "pubsub.nats.credentials_file needs the package nkeys"
        return [Finding(None, "nats", FAILED, found, "install account-monitor[credentials]")]
    connection, heard = Connection(), list[Exception]()
    where = ", ".join(nats.urls)
    try:
        async with asyncio.timeout(NATS_SECONDS):
            await _open(connection, nats, heard)
            findings = [Finding(None, "nats", OK, f"{where}: connected")]
            fills = settings.pubsub.topics.fill_events
            patterns = (fills, f"{fills}.*")
            findings += _streams(patterns, await find_streams(connection, patterns))
            return findings
    except (FeedUnavailable, *NATS_ERRORS) as error:
        last = next(map(reason, reversed(heard)), "no answer" if isinstance(error, TimeoutError) else reason(error))
        found = f"{where}: not connected within {NATS_SECONDS:g} s: {last}"
        return [Finding(None, "nats", FAILED, found, "start the server, or set pubsub.nats.url; null switches it off")]
    finally:
        await connection.shut()


async def _open(connection: Connection, nats: NatsSettings, heard: list[Exception]) -> None:
    assert nats.urls is not None
    await connection.open(
        list(nats.urls),
        credentials_file=None if nats.credentials_file is None else str(nats.credentials_file),
        ca_file=None if nats.ca_file is None else str(nats.ca_file),
        reconnect_wait_seconds=nats.reconnect_wait_seconds,
        on_disconnect=lambda: None,
        on_reconnect=lambda: None,
        on_error=heard.append,
    )


def _streams(patterns: tuple[str, ...], streams: list[Stream] | None) -> Iterator[Finding]:
    advice = "make a JetStream stream over them: what is published while the service is away is lost otherwise"
    if streams is None:
        yield Finding(None, "jetstream", WARNING, "the server has no JetStream", advice)
        return
    covered = coverage(patterns, streams)
    for stream in streams:
        held = ", ".join(sorted(set(covered.filters.get(stream.name, ()))))
        count = max(0, stream.last_sequence - stream.first_sequence + 1)
        yield Finding(None, "jetstream", OK, f"stream {stream.name} holds {held}: {count:,} messages")
        if stream.first_sequence > 1:
            found = f"stream {stream.name} begins with message {stream.first_sequence:,}: what was before is gone"
            yield Finding(None, "jetstream", OK, found)
    if covered.core:
        yield Finding(None, "jetstream", WARNING, f"no stream covers {' and '.join(covered.core)}", advice)


def check_people(alerts: AlertSettings) -> list[Finding]:
    """Look whether the channels and the heartbeat could be used; nothing is sent."""
    if alerts.channels is None and alerts.heartbeat_url is None:
        advice = "name the channels in alerts.channels_env or alerts.channels_file"
        return [Finding(None, "people", OK, f"nobody is told of alerts but NATS and those who look; {advice}")]
    from account_monitor.notifiers.people import reach_of, reach_problems  # takes a second, and not all have channels

    if problems := reach_problems(alerts):
        return [Finding(None, "people", FAILED, problem, "see docs/alerts.md") for problem in problems]
    reach = reach_of(alerts)
    names = ", ".join(channel.name for channel in reach.channels) or "no channel"
    heartbeat = "no heartbeat" if reach.heartbeat_url is None else "a heartbeat"
    return [Finding(None, "people", OK, f"{names}, {heartbeat}; to send a test: account-monitor alerts test")]


def check_tokens(path: Path) -> Finding:
    """Look whether the file of tokens may be used, and lets anybody in."""
    advice = "account-monitor token create makes one"
    try:
        tokens = TokensFile(path).read()
    except TokensRefused as error:
        return Finding(None, "tokens", FAILED, str(error), "see docs/authentication.md")
    if tokens is None:
        return Finding(None, "tokens", WARNING, f"{path}: not there yet, so nobody is let in", advice)
    states = [token.state(now_ms()) for token in tokens.tokens]
    found = f"{path}: {', '.join(f'{states.count(state)} {state}' for state in ('valid', 'expired', 'revoked'))}"
    return Finding(None, "tokens", OK if "valid" in states else WARNING, found, None if "valid" in states else advice)


async def check_redis(database: DatabaseSettings) -> Finding:
    """Log in to Redis, and look whether it keeps what it is given."""
    if database.redis_url is None:
        return Finding(None, "redis", OK, "switched off")
    from account_monitor.stores.redis_connection import RedisConnection  # takes a moment, and few have one

    connection = RedisConnection(database.redis_url, database.redis_password)
    try:
        await connection.open()
        _, told = await connection.ask([("EVAL", "return 1", 0), ("INFO",)])
    except StorageUnavailable as error:
        advice = "start the server, or see database.redis_url; null switches it off"
        if isinstance(error, StorageRefused):
            advice = "null in database.redis_url switches it off"  # what else to do the text says
        return Finding(None, "redis", FAILED, str(error), advice)
    finally:
        await connection.close()
    info = dict(line.split(":", 1) for line in told.decode(errors="replace").splitlines() if ":" in line)
    found = f"{connection.where}: {info.get('server_name', 'redis')} {info.get('redis_version', '')}"
    if info.get("role") == "slave":
        return Finding(None, "redis", FAILED, f"{found}, a replica that takes no writes", "name its primary")
    if info.get("maxmemory", "0") != "0" and info.get("maxmemory_policy", "").startswith("allkeys"):
        advice = "set maxmemory-policy to noeviction or a volatile one"
        return Finding(None, "redis", WARNING, f"{found}, which forgets keys when its memory is full", advice)
    return Finding(None, "redis", OK, f"{found}: connected")

"""Exposure: which files that hold secrets can others on this machine read, and what can a network read along?

A key of TLS is refused then (see `api.tls`). Other secrets are told of: Docker and Kubernetes hand them out readable by
everyone, inside of a container that has nobody else.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from account_monitor.config.secrets import escaped
from account_monitor.config.settings import Exchange, Settings
from account_monitor.config.values import is_loopback

OTHERS = stat.S_IRWXO | stat.S_IWGRP
"""Rights that nobody but the owner, and for reading the group, may have."""


def is_exposed(mode: int) -> bool:
    """Whether others may read or write a file of this mode, or the group may write it."""
    return bool(mode & OTHERS)


def exposed_files(settings: Settings) -> list[str]:
    """Return a line for every file of secrets that others may read; of one that is not there others read nothing."""
    return [
        f"{path}: {escaped(str(file))} can be read or written by others (mode {mode:04o}); expected chmod 600"
        for path, file in _secret_files(settings)
        for mode in _mode(file)
        if is_exposed(mode)
    ]


def exposed_doors(settings: Settings) -> list[str]:
    """Return a line for every door that a network reaches and where it may read along, or read without a token."""
    ways = (("http", settings.http.host, settings.http.tls), ("grpc", settings.grpc.host, settings.grpc_tls))
    told = [
        f"{section}.host: {host} is beyond this machine, and {section} speaks no TLS: who reads along reads tokens and"
        f" figures; set {section}.tls, or keep it behind a proxy that speaks TLS"
        for section, host, tls in ways
        if not is_loopback(host) and tls.cert_file is None
    ]
    metrics = settings.metrics
    if not is_loopback(metrics.host) and not metrics.require_token:
        told.append(
            f"metrics.host: {metrics.host} is beyond this machine, and metrics.require_token is false: whoever reaches"
            " that port reads the figures of all accounts; require a token, or let only Prometheus reach it"
        )
    elif not is_loopback(metrics.host):
        told.append(
            f"metrics.host: {metrics.host} is beyond this machine, and the metrics port speaks no TLS: who reads along"
            " reads the token of Prometheus; keep it behind a proxy that speaks TLS"
        )
    return told


def _mode(file: Path) -> list[int]:
    try:
        return [stat.S_IMODE(file.stat().st_mode)]
    except OSError:
        return []


def _secret_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    for index, account in enumerate(settings.accounts):
        if account.exchange is not Exchange.NONE:
            yield from _named(f"accounts[{index}].api_key_file", account.api_key_file)
            yield from _named(f"accounts[{index}].secret_key_file", account.secret_key_file)
    yield from _named("database.password_file", settings.database.password_file)
    yield from _named("database.redis_password_file", settings.database.redis_password_file)
    yield from _named("alerts.channels_file", settings.alerts.channels_file)
    yield from _named("alerts.heartbeat_url_file", settings.alerts.heartbeat_url_file)
    yield from _named("pubsub.nats.credentials_file", settings.pubsub.nats.credentials_file)


def _named(path: str, file: Path | None) -> Iterator[tuple[str, Path]]:
    if file is not None:
        yield path, file

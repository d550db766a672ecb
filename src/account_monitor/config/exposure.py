"""Exposure: which files that hold secrets can others on this machine read?

A key of TLS is refused then (see `api.tls`). Other secrets are told of: Docker and Kubernetes hand them out readable by
everyone, inside of a container that has nobody else.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from account_monitor.config.secrets import escaped
from account_monitor.config.settings import Exchange, Settings

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

"""Messages between the service and its scribe: lines of JSON, down its standard input and up its standard output."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from account_monitor.config import LogFormat, LogLevel


class Tenure(msgspec.Struct, frozen=True):
    """Under which lease an account is written: its epoch, and the session of the member that holds it."""

    epoch: int
    session: str


class Assignment(msgspec.Struct, frozen=True, kw_only=True, tag="assignment"):
    """What a scribe is to do, said once: where the journals and the history are. Times are milliseconds."""

    data_dir: str
    database_url: str
    password: str | None
    usd_assets: list[str]
    day_starts_at: int = 0
    """Minutes after 00:00 UTC."""
    snapshot_interval_ms: int
    retention_ms: int
    compress_after_ms: int
    accounts: list[str]
    tenures: dict[str, Tenure] | None = None
    """By account, the lease under which it is written; None: nobody else writes here, and there are no leases."""
    has_leases_elsewhere: bool = False
    """Whether the leases are not in the database of the history, but claimed there."""
    log_level: LogLevel
    log_format: LogFormat


class Accounts(msgspec.Struct, frozen=True, tag="accounts"):
    """Which accounts there are from now on."""

    accounts: list[str]
    tenures: dict[str, Tenure] | None = None


class Hurry(msgspec.Struct, frozen=True, tag="hurry"):
    """Somebody waits for what is recorded of an account: write it now."""

    account: str


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The history can be used; what it is."""

    description: str


class Written(msgspec.Struct, frozen=True, tag="written"):
    """How far the history of an account is, and why no further; `needs_help`: no waiting mends that."""

    account: str
    seq: int
    problem: str | None = None
    needs_help: bool = False
    lost_epoch: int | None = None
    """The epoch of the lease that the database says is over: nothing more is written under it."""


Order: TypeAlias = Assignment | Accounts | Hurry
Report: TypeAlias = Opened | Written

LARGEST_LINE = 1024 * 1024

decode_order = msgspec.json.Decoder(Assignment | Accounts | Hurry).decode
decode_report = msgspec.json.Decoder(Opened | Written).decode
_encode = msgspec.json.Encoder().encode


def line_of(message: Order | Report) -> bytes:
    """Return a message as a line."""
    return _encode(message) + b"\n"

"""`token`: who may come in. A token is printed once, when it is made; the file keeps only its hash."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import click

from account_monitor.cli.options import DEFAULT_CONFIG, config_option, settings_from
from account_monitor.clock import now_ms
from account_monitor.config import Settings, values
from account_monitor.errors import CommandFailed, ConfigurationError
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Deed
from account_monitor.monitor.ports import UNROUTED
from account_monitor.monitor.reports import time_text
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import open_reader
from account_monitor.stores.tokens_file import TokensFile
from account_monitor.tokens import Right, Token, new_token

MAX_ORDERS = 100_000
"""Of one account that are looked through, the youngest."""

_lifetime = values.seconds("1m")

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group()
def token() -> None:
    """Make, list and revoke tokens, with which programs and people come in; a service follows within two seconds."""


@token.command("create")
@config_option
@click.option(
    "--name", required=True, help="Up to 40 letters, digits, . _ - @; journals show it, and none has it twice."
)
@click.option(
    "--scope", type=click.Choice(["read", "operate"]), required=True, help="operate changes things, and reads."
)
@click.option("--account", "accounts", multiple=True, help="Only this account, may be repeated; default: all.")
@click.option("--expires", metavar="DURATION", help="Such as 90d; default: never.")
def create(config_file: Path | None, name: str, scope: Right, accounts: tuple[str, ...], expires: str | None) -> None:
    """Make a token and print it, this once, as all of the output."""
    settings = settings_from(config_file, secrets=())
    file = _tokens_file(settings, config_file)
    _check_accounts(settings, accounts)
    lifetime_ms = None if expires is None else _milliseconds(expires)
    try:
        made, text = new_token(name, scope, accounts or None, now_ms=now_ms(), by=_user(), lifetime_ms=lifetime_ms)
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None
    file.add(made)
    told = (
        f"{', '.join(sorted(made.accounts)) if made.accounts else 'all accounts'}; expires {_moment(made.expires_ms)}"
    )
    click.echo(f"token {name} ({scope}; {told}) is in {file.path}; it is shown this once:", err=True)
    click.echo(text)


@token.command("list")
@config_option
@json_option
def list_tokens(config_file: Path | None, as_json: bool) -> None:
    """List the tokens: name, scope, accounts, created, expires, state; never what lets anybody in."""
    file = _tokens_file(settings_from(config_file, secrets=()), config_file)
    known = file.read()
    at_ms = now_ms()
    for each in known.tokens if known is not None else ():
        click.echo(json.dumps(_facts(each, at_ms)) if as_json else _line(each, at_ms))
    if known is None:
        click.echo(f"{file.path}: there is no such file; nobody is let in", err=True)
    elif not known:
        click.echo(f"{file.path}: no token; nobody is let in", err=True)
    else:
        click.echo(f"{len(known)} in {file.path}", err=True)


@token.command("revoke")
@config_option
@click.argument("name", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every token, instead of a name.")
def revoke(config_file: Path | None, name: str | None, is_all: bool) -> None:
    """Let nobody in any more with a token; its open streams are closed within two seconds."""
    if (name is None) != is_all:
        raise click.UsageError("expected the name of a token, or --all")
    file = _tokens_file(settings_from(config_file, secrets=()), config_file)
    if name is not None:
        revoked = [file.revoke(name, now_ms=now_ms(), by=_user())]
    else:
        revoked = file.revoke_all(now_ms=now_ms(), by=_user())
    for each in revoked:
        told = f"token {each.name} is revoked in {file.path}; a running service takes it over within two seconds"
        click.echo(told, err=True)
    if not revoked:
        click.echo(f"{file.path}: no token is there to be revoked", err=True)


@token.command("history")
@config_option
@json_option
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
def history(config_file: Path | None, as_json: bool, limit: int) -> None:
    """List what was journaled of tokens: made, revoked, first used from an address, and refused attempts."""
    settings = settings_from(config_file, secrets=())
    path = journal_path(settings.service.data_dir, UNROUTED)
    if not path.exists():
        raise CommandFailed(f"{path}: there is no such journal; was the service ever started here?")
    deeds = _last_deeds(path, limit)
    for deed in deeds:
        _show(_told(deed), as_json=as_json)
    if not deeds:
        click.echo("nothing is journaled of tokens", err=True)


@token.command("orders")
@config_option
@json_option
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
def orders(config_file: Path | None, as_json: bool, name: str | None, limit: int) -> None:
    """List what was ordered with a token, or by anybody, of every account: acknowledged, silenced, corrected, reset.

    It is read from the journals beside a running service; where several processes share the accounts, ask on each.
    """
    settings = settings_from(config_file, secrets=())
    paths = [journal_path(settings.service.data_dir, account.name) for account in settings.accounts]
    known = [path for path in paths if path.exists()]
    if not known:
        raise CommandFailed(f"{settings.service.data_dir}: no journal is there; was the service ever started here?")
    given = [order for path in known for order in _orders(path) if name in (None, order["by"])]
    given.sort(key=itemgetter("timestamp"))
    for order in given[-limit:]:
        _show(order, as_json=as_json)
    if not given:
        click.echo("nothing was ordered" if name is None else f"nothing was ordered by {name}", err=True)


def _orders(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what was ordered of one account."""
    with open_reader(path) as reader:
        for entry in reader.latest_orders(MAX_ORDERS):
            event = entry.event
            yield {
                "timestamp": time_text(entry.recorded_at_ms),
                "account": reader.account,
                "seq": entry.seq,
                "by": (event.acked_by if isinstance(event, Alert) else getattr(event, "by", None)) or "",
                "event": event.event_id,
                "reason": getattr(event, "reason", ""),
            }


def _show(facts: dict[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(facts, ensure_ascii=False) if as_json else "  ".join(map(str, facts.values())))


def _last_deeds(path: Path, limit: int) -> list[Deed]:
    """Return the last so many deeds, the youngest last."""
    with open_reader(path) as reader:
        entries = reader.latest_deeds(limit)
    return [entry.event for entry in reversed(entries) if isinstance(entry.event, Deed)]


def _told(deed: Deed) -> dict[str, Any]:
    return {
        "timestamp": time_text(deed.at_ms),
        "kind": deed.kind,
        "by": deed.by or "",
        "address": deed.address or "",
        "attempts": deed.attempts,
        "detail": deed.detail,
    }


def _tokens_file(settings: Settings, config_file: Path | None) -> TokensFile:
    """Return the file by its absolute path: a relative one begins where the command runs, maybe not the service."""
    path = settings.auth.tokens_file
    if path is None and config_file is None and not DEFAULT_CONFIG.exists():
        raise ConfigurationError(
            f"{DEFAULT_CONFIG.absolute()}: is not there, and ACCOUNT_MONITOR__AUTH__TOKENS_FILE names no file of"
            " tokens; go where the service's config.yaml is, or name it with --config"
        )
    if path is None:
        raise ConfigurationError(
            "auth.tokens_file: was null, expected a file such as"
            f" {settings.service.data_dir / 'tokens.json'}: without it nobody is asked for a token; set it (or"
            " ACCOUNT_MONITOR__AUTH__TOKENS_FILE), and restart the service"
        )
    return TokensFile(path.absolute())


def _check_accounts(settings: Settings, accounts: tuple[str, ...]) -> None:
    """Raises: UsageError for an account that is not configured: a token for a misspelt one would see nothing."""
    known = [account.name for account in settings.accounts]
    for account in accounts:
        if account not in known:
            raise click.UsageError(f"--account: was {account!r}, expected one of {', '.join(known) or 'none'}")


def _milliseconds(text: str) -> int:
    try:
        return int(_lifetime(text) * 1000)
    except ValueError as error:
        raise click.UsageError(f"--expires: was {text[:40]!r}, {error}") from None


def _user() -> str:
    """Return who runs this, as the system names them; under sudo, who asked for it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        return f"uid {os.getuid()}"


def _facts(each: Token, at_ms: int) -> dict[str, Any]:
    return {
        "name": each.name,
        "scope": each.right,
        "accounts": None if each.accounts is None else sorted(each.accounts),
        "created": time_text(each.created_ms),
        "created_by": each.created_by,
        "expires": None if each.expires_ms is None else time_text(each.expires_ms),
        "state": each.state(at_ms),
    }


def _line(each: Token, at_ms: int) -> str:
    accounts = "all accounts" if each.accounts is None else ",".join(sorted(each.accounts))
    created = f"created {time_text(each.created_ms)} by {each.created_by}"
    expires = f"expires {_moment(each.expires_ms)}"
    return f"{each.name:<24}  {each.right:<7}  {each.state(at_ms):<7}  {accounts}  {created}  {expires}"


def _moment(at_ms: int | None) -> str:
    return "never" if at_ms is None else time_text(at_ms)

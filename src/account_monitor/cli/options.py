"""Options that several commands share."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import click

from account_monitor.config import EVERY_PURPOSE, Purpose, Settings, load_settings
from account_monitor.config.exposure import is_exposed
from account_monitor.config.values import is_loopback
from account_monitor.errors import CommandFailed, ConfigurationError
from account_monitor.failures import reason
from account_monitor.monitor.ports import UNROUTED
from account_monitor.stores.checkpoints import KeptStates
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import JournalReader, open_reader

_Command = TypeVar("_Command", bound=Callable[..., Any])

DEFAULT_CONFIG = Path("config.yaml")

_TRUSTED, _SHOWN = "account_monitor.trusted", "account_monitor.shown"
"""What `--ca` and `--client-cert` are called in the context of a command."""

TOKEN_VARIABLE = "ACCOUNT_MONITOR_TOKEN"  # noqa: S105  # its name
_INSECURE = "account_monitor.insecure"
_TOKEN_FILE = "account_monitor.token_file"  # noqa: S105  # a key


def config_option(command: _Command) -> _Command:
    """Add `--config`; without it `config.yaml` is read where there is one."""
    option = click.option("--config", "config_file", type=click.Path(path_type=Path), help="Default: config.yaml.")
    return option(command)


def journal_options(command: _Command) -> _Command:
    """Add `--config` and `--data-dir`, which say where the journals are."""
    option = click.option("--data-dir", type=click.Path(path_type=Path), help="Default: as configured.")
    return config_option(option(command))


def account_option(command: _Command) -> _Command:
    """Add `--account`, which may be left out where there is only one."""
    return click.option("--account", help="May be left out where there is only one.")(command)


def tls_options(command: _Command) -> _Command:
    """Add `--ca` and `--client-cert`, for a command that asks a running service; `tls_context` uses what they name."""

    def noting(name: str) -> Callable[[click.Context, click.Parameter, Path | None], None]:
        return lambda context, _option, file: context.meta.update({name: file})

    path = click.Path(path_type=Path)
    shows = click.option(
        "--client-cert", type=path, expose_value=False, callback=noting(_SHOWN), metavar="FILE",
        help="PEM with a certificate and its key, where the service asks for one.",
    )  # fmt: skip
    trusts = click.option(
        "--ca", type=path, expose_value=False, callback=noting(_TRUSTED), metavar="FILE",
        help="PEM with whom to trust for https; default: whom this machine trusts.",
    )  # fmt: skip
    return trusts(shows(command))


def tls_context() -> ssl.SSLContext:
    """Return how a command speaks https, as its options say. Raises: ConfigurationError."""
    context = click.get_current_context(silent=True)
    meta = {} if context is None else context.meta
    trusted, shown = meta.get(_TRUSTED), meta.get(_SHOWN)
    try:
        made = ssl.create_default_context(cafile=trusted)
    except OSError as error:
        problem = f"--ca: {trusted} cannot be used ({reason(error)}); expected certificates in PEM"
        raise ConfigurationError(problem) from error
    if shown is not None:
        try:
            made.load_cert_chain(shown)
        except OSError as error:
            problem = (
                f"--client-cert: {shown} cannot be used ({reason(error)}); expected a certificate and its key in PEM"
            )
            raise ConfigurationError(problem) from error
    return made


def token_option(command: _Command) -> _Command:
    """Add `--token-file` and `--insecure`, for a command that asks a running service.

    `given_token` returns what the one names, `check_way` minds the other.
    """

    def note(context: click.Context, _option: click.Parameter, file: Path | None) -> None:
        context.meta[_TOKEN_FILE] = file
        if file is not None:
            _warn_of_exposed(file)

    def note_insecure(context: click.Context, _option: click.Parameter, is_given: bool) -> None:
        context.meta[_INSECURE] = is_given

    insecure = click.option(
        "--insecure", is_flag=True, expose_value=False, callback=note_insecure,
        help="Send the token also over plain http to another machine, where who reads along reads it.",
    )  # fmt: skip
    token_file = click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=note,
        help=f"Holds the token that the service asks for; default: the variable {TOKEN_VARIABLE}.",
    )
    return token_file(insecure(command))


def check_way(url: str) -> None:
    """Raises: ConfigurationError where a token would go over a network in clear, and nobody said that it may."""
    context = click.get_current_context(silent=True)
    parts = urlsplit(url)
    is_allowed = context is not None and context.meta.get(_INSECURE, False)
    if parts.scheme == "https" or is_allowed or is_loopback(parts.hostname or ""):
        return
    raise ConfigurationError(
        f"{parts.scheme}://{parts.netloc}: is no https, so who reads along would read the token, which was not sent;"
        " use https, or say --insecure"
    )


def _warn_of_exposed(file: Path) -> None:
    """Say that others can come in with the token of a file, once; whether it can be read is found out later."""
    try:
        found = file.stat()
    except OSError:
        return  # `given_token` says why
    if stat.S_ISREG(found.st_mode) and is_exposed(found.st_mode):
        mode = stat.S_IMODE(found.st_mode)
        told = f"{file} can be read or written by others (mode {mode:04o}); expected chmod 600"
        click.echo(f"warning: --token-file: {told}", err=True)


def given_token() -> str | None:
    """Return the token that a command was given, None for none. Raises: ConfigurationError for what cannot be one."""
    context = click.get_current_context(silent=True)
    file: Path | None = None if context is None else context.meta.get(_TOKEN_FILE)
    where = f"--token-file: {file}" if file is not None else TOKEN_VARIABLE
    try:
        text = os.environ.get(TOKEN_VARIABLE, "") if file is None else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    token = text.strip()
    if not token and file is None:
        return None
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise ConfigurationError(f"{where}: holds no token; expected what account-monitor token create printed")
    return token


def settings_from(config_file: Path | None, *, secrets: Collection[Purpose] = EVERY_PURPOSE) -> Settings:
    """Read the configuration, and of its secrets those for what a command connects to. Raises: ConfigurationError."""
    if config_file is None and DEFAULT_CONFIG.exists():
        config_file = DEFAULT_CONFIG
    return load_settings(config_file, os.environ, secrets=secrets)


def chosen_account(account: str | None, names: list[str], what_there_is: str) -> str:
    """Return the account that is meant, which may be left out where there is one. Raises: ConfigurationError."""
    if account is not None and account in names:
        return account
    if account is None and len(names) == 1:
        return names[0]
    problem = "which one?" if account is None else f"there is no account {account!r}."
    raise ConfigurationError(f"--account: {problem} {what_there_is}")


class Journals(NamedTuple):
    """The journals of a data directory; they can be read while the service runs."""

    data_dir: Path
    usd_assets: frozenset[str]
    day_starts_at: int = 0
    """Minutes after 00:00 UTC."""

    def accounts(self) -> list[str]:
        """Return the accounts that have a journal."""
        names = (path.stem for path in self.data_dir.glob(journal_path(self.data_dir, "*").name))
        return sorted(name for name in names if name != UNROUTED)

    def chosen(self, account: str | None) -> str:
        """Return the account that a command means. Raises: ConfigurationError naming what there is."""
        names = self.accounts()
        others = [UNROUTED] if self.path(UNROUTED).exists() else []
        return chosen_account(account, names, f"{self.data_dir} has: {', '.join([*names, *others]) or 'no journal'}")

    def path(self, account: str) -> Path:
        """Return the file of an account."""
        return journal_path(self.data_dir, account)

    def kept_states(self, reader: JournalReader) -> KeptStates:
        """Return the states that a journal keeps and that these settings can go on from."""
        return KeptStates(reader, self.usd_assets, day_starts_at=self.day_starts_at)

    def reader(self, account: str) -> JournalReader:
        """Open a journal for reading. Raises: JournalError."""
        return open_reader(self.path(account))


def journals_from(config_file: Path | None, data_dir: Path | None) -> Journals:
    """Return the journals that the options name. Raises: ConfigurationError, CommandFailed."""
    return journals_of(located(settings_from(config_file, secrets=()), data_dir))


def located(settings: Settings, data_dir: Path | None) -> Settings:
    """Return the settings with the data directory that `--data-dir` names, if it does."""
    return settings if data_dir is None else settings._replace(service=settings.service._replace(data_dir=data_dir))


def journals_of(settings: Settings) -> Journals:
    """Return the journals of a data directory. Raises: CommandFailed."""
    folder = settings.service.data_dir
    if not folder.is_dir():
        raise CommandFailed(f"{folder}: there is no such data directory; was the service ever started here?")
    return Journals(folder, settings.service.usd_assets, settings.service.day_starts_at_minutes)

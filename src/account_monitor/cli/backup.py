"""`backup` and `restore`: every journal to one file, and back."""

from __future__ import annotations

from pathlib import Path

import click

from account_monitor.cli.completeness import warned_shortfalls
from account_monitor.cli.options import config_option, journal_options, journals_of, located, settings_from
from account_monitor.clock import now_ms
from account_monitor.errors import CommandFailed
from account_monitor.monitor.ports import UNROUTED
from account_monitor.stores import backup as store


@click.command()
@journal_options
@click.option("--force", is_flag=True, help="Replace TARGET if it exists.")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
def backup(config_file: Path | None, data_dir: Path | None, target: Path, force: bool) -> None:
    """Write a consistent copy of every journal to TARGET; the service may be running."""
    settings = located(settings_from(config_file, secrets=()), data_dir)
    journals = journals_of(settings)
    if target.exists() and not force:
        raise CommandFailed(f"{target}: exists already, and may be the only copy; name another file, or add --force")
    paths = {name: journals.path(name) for name in [*journals.accounts(), UNROUTED] if journals.path(name).exists()}
    if not paths:
        raise CommandFailed(f"{journals.data_dir}: there is no journal to back up")
    warned_shortfalls(config_file, data_dir, sorted({*journals.accounts(), *(each.name for each in settings.accounts)}))
    store.backup(paths, target, clock=now_ms)
    click.echo(f"{target}: {', '.join(name for name in paths if name != UNROUTED)}")


@click.command()
@config_option
@click.option("--data-dir", type=click.Path(path_type=Path), help="Default: as configured.")
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def restore(config_file: Path | None, data_dir: Path | None, source: Path) -> None:
    """Verify SOURCE and put its journals into the data directory, where none of them may exist yet."""
    folder = data_dir or settings_from(config_file, secrets=()).service.data_dir
    store.restore(source, folder, clock=now_ms)
    click.echo(f"{folder}: restored from {source}")

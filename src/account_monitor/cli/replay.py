"""`replay`: fold a journal and print the state that it makes."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from account_monitor.cli.options import Journals, account_option, journal_options, journals_from
from account_monitor.cli.times import TIME
from account_monitor.errors import JournalCorrupt
from account_monitor.ledger.account import Account, AccountState
from account_monitor.ledger.events import Event
from account_monitor.ledger.valuation import Valuation
from account_monitor.monitor.reports import account_report
from account_monitor.monitor.views import ViewBuilder
from account_monitor.stores.checkpoints import load_state
from account_monitor.stores.journal_reader import JournalReader

_BATCH = 1_000


@click.command()
@journal_options
@account_option
@click.option("--until", "until_ms", type=TIME, metavar="TIME", help="What was recorded up to this time.")
@click.option("--verify", is_flag=True, help="Check the hash chain and the checkpoint first.")
def replay(
    config_file: Path | None, data_dir: Path | None, account: str | None, until_ms: int | None, verify: bool
) -> None:
    """Fold the journal from its beginning and print the state as JSON; the service may be running."""
    journals = journals_from(config_file, data_dir)
    name = journals.chosen(account)
    with journals.reader(name) as reader:
        if verify:
            entries, last_hash = reader.verify()
            _verify_checkpoint(reader, journals)
            click.echo(f"{journals.path(name)}: {entries} entries verified, last hash {last_hash.hex()}", err=True)
        folded, last_ms = _folded(reader, journals, until_ms=until_ms)
        view = ViewBuilder(name, reader.head().epoch, folded, Valuation(folded)).view
        report = account_report(view, last_ms if until_ms is None else until_ms)
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())


def _folded(
    reader: JournalReader, journals: Journals, *, until_ms: int | None = None, until_seq: int | None = None
) -> tuple[Account, int]:
    """Return the account from nothing but the entries, and when the last of them was recorded."""
    account = Account(reader, usd_assets=journals.usd_assets)
    batch: list[tuple[int, Event]] = []
    last_ms = 0
    for entry in reader.entries(until=until_seq):
        if until_ms is not None and entry.recorded_at_ms > until_ms:
            continue  # not the end: the clock of the machine may have been put back
        last_ms = entry.recorded_at_ms
        batch.append((entry.seq, entry.event))
        if len(batch) >= _BATCH:
            account.apply_all(batch)
            batch.clear()
    account.apply_all(batch)
    return account, last_ms


def _verify_checkpoint(reader: JournalReader, journals: Journals) -> None:
    """Compare the newest checkpoint, from which the service would continue, with a fold from nothing."""
    state = load_state(reader, journals.usd_assets)
    if state is None:
        return
    folded, _ = _folded(reader, journals, until_seq=state.seq)
    if _facts(folded.state) != _facts(state):
        raise JournalCorrupt(
            f"account {reader.account}: the checkpoint at seq {state.seq} is not what the entries make"
        )
    click.echo(f"checkpoint at seq {state.seq} equals the fold of the entries", err=True)


def _facts(state: AccountState) -> tuple[object, ...]:
    """Return what must not depend on how the journal was folded; checkpoints of positions do."""
    legs = {key: timeline.leg for key, timeline in state.timelines.items()}
    return (legs, state.wallets, state.wallets_known, state.funding, state.other, state.transfers, state.marks)

"""`replay`: fold a journal and print the state that it makes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from account_monitor.cli.completeness import warned_shortfalls
from account_monitor.cli.history import connected_history
from account_monitor.cli.options import (
    Journals,
    account_option,
    journal_options,
    journals_of,
    located,
    settings_from,
)
from account_monitor.cli.times import TIME
from account_monitor.config import Lease, Purpose, Settings
from account_monitor.errors import CommandFailed, HistoryDiffers, HistoryUnavailable, JournalCorrupt
from account_monitor.ledger.account import Account, AccountState
from account_monitor.ledger.events import Event
from account_monitor.ledger.valuation import Valuation
from account_monitor.monitor.reports import account_report
from account_monitor.monitor.views import ViewBuilder
from account_monitor.stores.history.verification import verify_replica
from account_monitor.stores.journal_reader import JournalReader

_BATCH = 1_000


@click.command()
@journal_options
@account_option
@click.option("--until", "until_ms", type=TIME, metavar="TIME", help="What was recorded up to this time.")
@click.option("--verify", is_flag=True, help="Check hash chain, checkpoint and the copy in the history first.")
@click.option("--local", is_flag=True, help="With --verify: leave the database of the history out.")
def replay(
    config_file: Path | None,
    data_dir: Path | None,
    account: str | None,
    until_ms: int | None,
    verify: bool,
    local: bool,
) -> None:
    """Fold the journal from its beginning and print the state as JSON; the service may be running.

    Of a journal whose older entries are in the history only, it begins with the oldest state that was kept.
    With --verify, what was checked is said on the standard error; exit code 1 if anything is not as it should be.
    """
    if local and not verify:
        raise click.UsageError("--local goes with --verify")
    with_history = verify and not local
    settings = located(settings_from(config_file, secrets={Purpose.DATABASE} if with_history else ()), data_dir)
    journals = journals_of(settings)
    name = journals.chosen(account)
    warned_shortfalls(config_file, data_dir, [name])
    with journals.reader(name) as reader:
        if verify:
            last_seq, last_hash = reader.verify()
            _verify_checkpoint(reader, journals)
            entries = last_seq - reader.base_seq
            click.echo(f"{journals.path(name)}: {entries} entries verified, last hash {last_hash.hex()}", err=True)
        if with_history:
            click.echo(asyncio.run(_verify_history(reader, settings)), err=True)
        folded, last_ms = _folded(reader, journals, until_ms=until_ms)
        view = ViewBuilder(name, reader.head().epoch, folded, Valuation(folded)).view
        report = account_report(view, last_ms if until_ms is None else until_ms)
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())


def _folded(
    reader: JournalReader, journals: Journals, *, until_ms: int | None = None, until_seq: int | None = None
) -> tuple[Account, int]:
    """Return the account from nothing but the entries that are here, and when the last of them was recorded."""
    state = journals.kept_states(reader).first() if reader.base_seq else None
    account = Account(reader, usd_assets=journals.usd_assets, state=state, day_starts_at=journals.day_starts_at)
    if state is not None and until_ms is not None and reader.seq_at(until_ms) < state.seq:
        raise CommandFailed(f"account {reader.account}: what was recorded then is in the history only")
    batch: list[tuple[int, Event]] = []
    last_ms = 0
    for entry in reader.entries(after=account.state.seq, until=until_seq):
        if until_ms is not None and entry.recorded_at_ms > until_ms:
            continue  # not the end: the clock of the machine may have been put back
        last_ms = entry.recorded_at_ms
        batch.append((entry.seq, entry.event))
        if len(batch) >= _BATCH:
            account.apply_all(batch)
            batch.clear()
    account.apply_all(batch)
    return account, last_ms


async def _verify_history(reader: JournalReader, settings: Settings) -> str:
    """Prove that the copy in the history is the journal, as far as it goes; say how far."""
    try:
        async with connected_history(settings) as store:
            description = (await store.condition()).description
            is_shared = settings.cluster.lease is not Lease.NONE
            replica = await verify_replica(store, reader, may_lack=is_shared)
    except HistoryDiffers:
        raise
    except HistoryUnavailable as error:
        raise CommandFailed(f"the copy in the history is not verified: {error}; --local leaves it out") from error
    if replica is None:
        return f"history ({description}): there is no copy of this journal yet"
    last_seq = reader.last_seq
    verified = (
        f"history ({description}): the first {min(last_seq, replica.seq)} entries verified, each the one of the journal"
    )
    if last_seq < replica.seq:
        more = replica.seq - last_seq
        return f"{verified}; the {more} after them are another replica's, no fault where replicas share accounts"
    behind = last_seq - replica.seq
    return f"{verified}; the {behind} after them are not there yet" if behind else verified


def _verify_checkpoint(reader: JournalReader, journals: Journals) -> None:
    """Compare the newest checkpoint, from which the service would continue, with a fold from nothing."""
    state = journals.kept_states(reader).load()
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
    return (
        legs,
        state.wallets,
        state.wallets_known,
        state.funding,
        state.other,
        state.transfers,
        state.marks,
        state.performance,
    )

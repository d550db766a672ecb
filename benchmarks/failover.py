"""Three processes share accounts while machines die: is there ever a second writer, and how long is nobody the first?

Real processes, NATS, PostgreSQL and Valkey, and the simulated exchange; each process in a network of its own. One after
the other is killed, stopped, frozen or cut off, or the store of the leases is restarted, as a seed says, while all
accounts trade. What clients, Redis, NATS and the database see is held against what was promised, all the time, and
the books against the exchange's at the end. `--kills N`: only kill -9, so often; `--stops N`: only SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.integration.drill import DRAIN, FREEZE, KILL, PARTITION, RESTART, Drill, busy
from tests.integration.replicas import chance_of, cluster
from tests.integration.witness import Witness
from tests.servers.network import namespaces_missing

BOOKS_SECONDS = 90.0
DIP_TTLS, DIP_LEAST_SECONDS = 5, 20.0
"""How long an account stays where it alarms: longer than nobody may hear it."""
WEIGHTS = {KILL: 3, FREEZE: 2, PARTITION: 3, RESTART: 1, DRAIN: 2}


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks failover")
    parser.add_argument("--minutes", type=float, default=10)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--kills", type=int, help="kill so often, and do nothing else")
    only.add_argument("--stops", type=int, help="stop one in good order so often, and do nothing else")
    parser.add_argument("--accounts", type=int, default=30)
    parser.add_argument("--rate", type=float, default=300, help="fills a second, of all accounts")
    parser.add_argument("--lease", choices=("postgres", "nats"), default="postgres")
    parser.add_argument("--ttl", type=float, default=5, help="seconds")
    parser.add_argument("--one-address", action="store_true", help="all processes share one at the exchange")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the logs of the processes, which is not removed")
    asyncio.run(_run(parser.parse_args(arguments)))


async def _run(options: argparse.Namespace) -> None:
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("tests.integration.drill").setLevel(logging.INFO)
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # of the publisher, when the server is restarted
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        async with cluster(
            folder, accounts=options.accounts, seed=options.seed, lease=options.lease, ttl_seconds=options.ttl,
            has_one_address=options.one_address,
        ) as here, Witness(here) as witness:  # fmt: skip
            drill = Drill(here, witness, chance_of(options.seed))
            print(f"each process in {namespaces_missing() or 'a network namespace'}; load {_load()}", flush=True)
            dip_seconds = max(DIP_LEAST_SECONDS, DIP_TTLS * options.ttl)
            async with busy(here, fills_per_second=options.rate, dip_seconds=dip_seconds):
                began = time.monotonic()
                await drill.even()
                await _disturb(drill, options)
                took = time.monotonic() - began
                await asyncio.sleep(dip_seconds if options.kills is None and options.stops is None else 0)
            began = time.monotonic()
            differing = await here.end_equal(BOOKS_SECONDS)
            caught_up = time.monotonic() - began
            await witness.judge()
            _print(drill, options, took)
            print(f"  books equal {caught_up:.1f} s after the last trade" if not differing else "  books differ:")
            for account, text in differing.items():
                print(f"    {account}: {text}")


async def _disturb(drill: Drill, options: argparse.Namespace) -> None:
    chance = chance_of(options.seed + 1)
    for kind, count in ((KILL, options.kills), (DRAIN, options.stops)):
        for _ in range(count or 0):
            await drill.do(kind)
    if options.kills is not None or options.stops is not None:
        return
    until = time.monotonic() + options.minutes * 60
    while time.monotonic() < until:
        await drill.do(chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0])


def _print(drill: Drill, options: argparse.Namespace, took: float) -> None:
    witness = drill.witness
    print(
        f"{options.accounts} accounts, {options.lease}, ttl {options.ttl:g} s, {took / 60:.1f} min,"
        f" seed {options.seed}: {drill.cluster.desk.fills:,} fills at the exchange; load {_load()}"
    )
    print(f"  done: {', '.join(f'{kind} {count}' for kind, count in drill.done.items())}")
    print(f"  looked at: {', '.join(f'{what} {count:,}' for what, count in sorted(witness.counts.items()))}")
    print(f"  an account after kill -9 (asked: {options.ttl + 1:g} s): {_shares(drill.killed)}")
    print(f"  an account after SIGTERM (asked: 0.5 s): {_shares(drill.drained)}")
    print(f"  requests that came although the exchange had told their address to wait: {drill.cluster.desk.violations}")
    print(f"  violations: {len(witness.violations)}")
    for text in witness.violations[:50]:
        print(f"    {text}")


def _shares(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.9, 0.99)]
    return "served again after {:.2f} s (half), {:.2f} (p90), {:.2f} (p99), {:.2f} (most), {} of them".format(
        *at, ordered[-1], len(ordered)
    )


def _load() -> str:
    return " ".join(f"{each:.1f}" for each in os.getloadavg())

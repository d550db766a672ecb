"""The witness: what do several processes do that share accounts, as clients, Redis, NATS and the database see it?

It knows nothing of leases. It hears all that is told, and says at the end what nobody should have been told.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import msgspec
import redis.asyncio
from nats.errors import TimeoutError as NatsTimeout

from tests.integration.replicas import STREAM, Cluster, Replica

COPIED_SECONDS, TOLD_SECONDS = 30.0, 3.0
MARKS = 5
"""Entries that may come while one looks: prices, a second apart."""
REDIS_SECONDS, HEADS_SECONDS = 0.05, 0.5
RECONNECT_SECONDS = 0.05
BROKEN_SECONDS = 30.0
"""How long before an alert was told something may have been broken, so that it is told again."""
_pack = msgspec.msgpack.Encoder().encode


class Place(NamedTuple):
    """How far an account is."""

    epoch: int
    seq: int


class Taken(NamedTuple):
    """An account was shown by a process under a new epoch."""

    at: float
    """`time.monotonic`."""
    epoch: int
    replica: str


class Told(NamedTuple):
    """A message that NATS keeps."""

    subject: str
    id: str
    at: float
    """Time of day in seconds."""
    body: dict[str, Any]


class Witness:
    """Hears everything, for the length of an `async with` block."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        """How much was looked at."""
        self.taken: defaultdict[str, list[Taken]] = defaultdict(list)
        self.disturbances: list[float] = []
        """When something was broken: time of day in seconds."""
        self._heads: defaultdict[str, dict[int, tuple[int, bytes]]] = defaultdict(dict)
        """By account, ends of the copy of its journal as they were seen: by seq, epoch and hash."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Witness:
        jobs = [self._follow(replica) for replica in self.cluster.replicas]
        self._tasks = [asyncio.create_task(job) for job in (*jobs, self._watch_redis(), self._watch_heads())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for error in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(error, Exception):
                raise error

    def holder(self, account: str) -> str | None:
        """Return who showed an account last under a new epoch."""
        return self.taken[account][-1].replica if self.taken[account] else None

    def held_by(self, replica: Replica) -> list[str]:
        """Return the accounts of a process, as clients know it."""
        return [name for name in self.cluster.desk.names if self.holder(name) == replica.name]

    def served_since(self, account: str, at: float, *, but: str) -> float | None:
        """Return when an account was first shown by another process than `but` after a moment, or None."""
        return next((each.at for each in self.taken[account] if each.at >= at and each.replica != but), None)

    def accuse(self, text: str) -> None:
        """Note what should not be."""
        self.violations.append(text)

    # -- clients -----------------------------------------------------------------------------------------------------

    async def _follow(self, replica: Replica) -> None:
        """Be a client of one process that comes back where it ended, whenever it can."""
        last: dict[str, Place] = {}

        def make(_info: Any) -> Any:
            made = replica.network.connect(replica.http_port)
            made.setblocking(False)
            return made

        connector = aiohttp.TCPConnector(socket_factory=make, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            while True:
                since = ",".join(f"{account}:{place.epoch}:{place.seq}" for account, place in last.items())
                url = f"http://127.0.0.1:{replica.http_port}/ws{f'?since={since}' if since else ''}"
                try:
                    async with session.ws_connect(url, max_msg_size=0, heartbeat=None) as socket:
                        self.counts["connections"] += 1
                        async for frame in socket:
                            self._hear(replica, json.loads(frame.data), last)
                except (aiohttp.ClientError, OSError, TimeoutError):
                    pass  # it is away
                await asyncio.sleep(RECONNECT_SECONDS)

    def _hear(self, replica: Replica, message: dict[str, Any], last: dict[str, Place]) -> None:
        account = message["account"]
        if account is None:
            return
        self.counts["messages"] += 1
        place, before = Place(message["epoch"], message["seq"]), last.get(account)
        if message["type"] == "snapshot":
            if before is not None and place.epoch < before.epoch:
                self.accuse(f"{replica.name} told {account} of {place} after {before}")
            known = self.taken[account][-1].epoch if self.taken[account] else 0
            if place.epoch > known:
                self.taken[account].append(Taken(time.monotonic(), place.epoch, replica.name))
        elif before is None or (place.epoch, message["prev"]) != before:
            self.accuse(f"{replica.name} told {account} of {place} after {message['prev']}, and it had told {before}")
        last[account] = place

    # -- stores ------------------------------------------------------------------------------------------------------

    async def _watch_redis(self) -> None:
        """See that no account goes back."""
        names = self.cluster.desk.names
        keys = [f"account-monitor:{name}:seq" for name in names]
        last: dict[str, Place] = {}
        async with redis.asyncio.Redis.from_url(self.cluster.redis.url) as client:
            while True:
                for name, text in zip(names, await client.mget(keys), strict=True):
                    if text is None:
                        continue
                    told = json.loads(text)
                    place = Place(told["epoch"], told["seq"])
                    if place < last.get(name, place):
                        self.accuse(f"Redis showed {name} at {place} after {last[name]}")
                    last[name] = place
                self.counts["looks at Redis"] += 1
                await asyncio.sleep(REDIS_SECONDS)

    async def _watch_heads(self) -> None:
        """See that the copies of the journals only grow, whenever the database answers."""
        last: dict[str, Place] = {}
        while True:
            try:
                connection = await asyncpg.connect(self.cluster.database.url, timeout=2)
                try:
                    while True:
                        for name, epoch, seq, digest in await connection.fetch(
                            "SELECT account, epoch, seq, hash FROM projections", timeout=2
                        ):
                            place, before = Place(epoch, seq), last.get(name, Place(0, 0))
                            if epoch < before.epoch or seq < before.seq:
                                self.accuse(f"the copy of {name} was at {place} after {before}")
                            last[name] = place
                            self._heads[name][seq] = (epoch, digest)
                        self.counts["looks at the history"] += 1
                        await asyncio.sleep(HEADS_SECONDS)
                finally:
                    connection.terminate()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(HEADS_SECONDS)

    # -- at the end --------------------------------------------------------------------------------------------------

    async def judge(self) -> None:
        """Look at what stores and streams hold, once all is quiet."""
        await self._catch_up()
        transitions = await self._judge_journals()
        told = await self._told()
        self._judge_pnl([each for each in told if each.subject == "trading.pnl"])
        self._judge_alerts([each for each in told if each.subject == "trading.alerts"], transitions)
        self._judge_logs()

    async def _catch_up(self) -> None:
        """Wait until the copies hold all that is shown, and NATS has it."""
        deadline = time.monotonic() + COPIED_SECONDS
        while behind := [name for name in self.cluster.desk.names if not await self._is_copied(name)]:
            if time.monotonic() > deadline:
                self.accuse(f"after {COPIED_SECONDS:g} s the copies of {behind} were not complete")
                return
            await asyncio.sleep(HEADS_SECONDS)
        await asyncio.sleep(TOLD_SECONDS)

    async def _is_copied(self, account: str) -> bool:
        replica = next(each for each in self.cluster.replicas if each.name == self.holder(account))
        status, shown = await asyncio.to_thread(replica.get, f"/api/account?account={account}")
        return status == 200 and max(self._heads[account], default=0) >= shown["seq"] - MARKS

    async def _judge_journals(self) -> dict[str, set[str]]:
        """See that each journal is one line; return by account its transitions of alerts, as NATS names them."""
        transitions: dict[str, set[str]] = {}
        connection = await asyncpg.connect(self.cluster.database.url)
        for account in self.cluster.desk.names:
            transitions[account] = set()
            before, last, heads = bytes(32), Place(0, 0), dict(self._heads[account])  # it may grow meanwhile
            async with connection.transaction():
                async for row in connection.cursor(_LINE, account, prefetch=1000):
                    place = Place(row["epoch"], row["seq"])
                    body = row["body"].encode()
                    linked = sha256(_pack((before, *tuple(row)[:-2], body))).digest()
                    if place.seq != last.seq + 1 or place.epoch < last.epoch:
                        self.accuse(f"the copy of {account} has {place} after {last}")
                    if linked != row["hash"]:
                        self.accuse(f"the copy of {account}: entry {place} does not follow from the one before")
                    seen = heads.get(place.seq)
                    if seen not in (None, (place.epoch, row["hash"])):
                        self.accuse(f"the copy of {account} was another one at {place}")
                    if row["kind"] == "alert":
                        transitions[account].add(row["event_id"].removeprefix("alert:"))
                    before, last = row["hash"], place
                    self.counts["entries"] += 1
            if max(heads, default=0) > last.seq:
                self.accuse(f"the copy of {account} ends at {last}, and had {max(heads)} entries")
        self.counts["bytes of the history"] = await connection.fetchval("SELECT pg_database_size(current_database())")
        self.counts["fills in the history"] = await connection.fetchval("SELECT count(*) FROM fills")
        await connection.close()
        return transitions

    async def _told(self) -> list[Told]:
        client = await self.cluster.nats.connect()
        stream = client.jetstream(timeout=5)
        count = (await stream.stream_info(STREAM)).state.messages
        reading = await stream.subscribe("trading.*", stream=STREAM, ordered_consumer=True)
        told: list[Told] = []
        try:
            while len(told) < count:
                message = await reading.next_msg(timeout=5)
                identity = (message.headers or {}).get("Nats-Msg-Id", "")
                at = message.metadata.timestamp.timestamp()
                told.append(Told(message.subject, identity, at, json.loads(message.data)))
        except NatsTimeout:
            self.accuse(f"the stream {STREAM} gave {len(told)} of {count} messages")
        await client.close()
        return told

    def _judge_pnl(self, told: list[Told]) -> None:
        """See that reports come under one epoch at a time, and none from an earlier state.

        A network may deliver late what was sent in time: a machine keeps packets until it knows again who their
        receiver is. So of two reports in the wrong order, the older one has to have been made before the other.
        """
        last: dict[str, tuple[Place, int]] = {}
        for message in told:
            _, account, epoch, seq, made_ms = message.id.split(":")
            place, at = Place(int(epoch), int(seq)), int(made_ms)
            before, before_at = last.get(account, (place, at))
            if place >= before:
                last[account] = (place, at)
            elif place.epoch == before.epoch or at >= before_at:
                self.accuse(f"trading.pnl told {account} at {place} after {before}, {at - before_at} ms later")
            else:
                self.counts["reports late"] += 1
        self.counts["reports"] = len(told)

    def _judge_alerts(self, told: list[Told], transitions: dict[str, set[str]]) -> None:
        """See that each transition was told, again only as the same, and no more often than something broke."""
        unconfirmed = self._unconfirmed()
        copies: defaultdict[str, list[Told]] = defaultdict(list)
        for message in told:
            copies[message.id].append(message)
        self.counts["alerts"] = len(copies)
        transitions_told = {identity.rpartition(":")[0] for identity in copies}
        for account, ids in transitions.items():
            for missing in ids - transitions_told:
                self.accuse(f"an alert of {account} was never told: {missing}")
        known = {each.rpartition(":")[0] for ids in transitions.values() for each in ids}
        for identity, messages in copies.items():
            first, last = messages[0], messages[-1]
            if len({_said(each) for each in messages}) > 1:
                self.accuse(f"alert {identity} was told as {_said(first)}, and as {_said(last)}")
            times = [*self.disturbances, *unconfirmed]
            broken = sum(first.at - BROKEN_SECONDS <= at <= last.at for at in times)
            if len(messages) - 1 > broken:
                self.accuse(f"alert {identity} was told {len(messages)} times, and {broken} times something was broken")
            self.counts["alerts told again"] += len(messages) - 1
            if first.body["type"] == "STORAGE_UNAVAILABLE" and first.body["symbol"] == "journal":
                self.accuse(f"people heard that nothing is recorded, where another process does: {first.body}")
            if identity.partition(":")[0] not in known:
                self.counts["alerts told that no journal has"] += 1
        self._judge_dips(told)

    def _unconfirmed(self) -> list[float]:
        """Return when a process said that NATS had not confirmed an alert: it tells that once more."""
        said = [json.loads(line) for each in self.cluster.replicas for line in _lines(each, '"alerts_not_published"')]
        return [datetime.fromisoformat(each["timestamp"]).timestamp() for each in said]

    def _judge_dips(self, told: list[Told]) -> None:
        """See that people know in the end who lost nearly all, or got it back; count what they did not hear in time.

        What lasted no longer than nobody held the account, or than a busy machine was behind, may pass unheard.
        """
        heard: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
        for message in told:
            if message.body["type"] == "LOW_BALANCE":
                heard[message.body["account"]].append((message.body["state"], message.at))
        for account, times in self.cluster.desk.dips.items():
            for number, at in enumerate(times):
                until = times[number + 1] if number + 1 < len(times) else float("inf")
                state = "RESOLVED" if number % 2 else "FIRING"
                self.counts["dips"] += 1
                if not any(said == state and at <= when <= until for said, when in heard[account]):
                    self.counts["dips not heard in time"] += 1
                    if until == float("inf"):
                        self.accuse(f"{account} was {state} in the end, since {at:.1f}, and nobody was told")

    def _judge_logs(self) -> None:
        """See that no epoch of an account was taken up twice, and that no process met a defect."""
        taken: Counter[tuple[str, int]] = Counter()
        for replica in self.cluster.replicas:
            for line in _lines(replica, '"account_taken_up"'):
                said = json.loads(line)
                taken[said["account"], said["epoch"]] += 1
            for mark in ("Traceback", '"part_failed"', "Exception in"):
                for line in _lines(replica, mark):
                    self.accuse(f"{replica.name}: {line[:300]}")
        for (account, epoch), count in taken.items():
            if count > 1:
                self.accuse(f"{account} was taken up {count} times under epoch {epoch}")
        self.counts["takeovers"] = len(taken)


def _said(told: Told) -> tuple[str, ...]:
    """Return what a repeated alert has to repeat. Who was cut off may have seen it with other figures."""
    return tuple(told.body[name] for name in ("id", "account", "type", "state", "severity"))


def _lines(replica: Replica, mark: str) -> list[str]:
    """Return the lines of a log that hold some text."""
    return [line for line in replica.log_file.read_text().splitlines() if mark in line]


_LINE = """
SELECT epoch, seq, event_id, kind, (extract(epoch FROM at) * 1000)::bigint AS at_ms,
       (extract(epoch FROM recorded_at) * 1000)::bigint AS recorded_at_ms, source, body::text AS body, hash
FROM journal WHERE account = $1 ORDER BY seq, epoch
"""

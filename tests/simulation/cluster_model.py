"""A model of the protocol of docs/decisions/0015-leases.md: which faults does it bear, and does the model see mistakes?

Three members, one account, a store of leases, a database with the copy of the journal, and a source that can be read
again. Messages are late or lost, whether they were heeded or not; members stop for seconds between any two steps, and
die; clocks run apart. What holds a lease, and for how long, is the product's own code. By seed:

    .venv/bin/python -m tests.simulation.cluster_model 20000          # as many worlds
    .venv/bin/python -m tests.simulation.cluster_model 1 --first 17   # one again
    .venv/bin/python -m tests.simulation.cluster_model 2000 --mistake no_fence

`Mistake` names what people get wrong: each must break a promise in some world, or the model would prove nothing.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
from collections.abc import Callable, Generator, Iterator
from enum import StrEnum
from hashlib import sha256
from itertools import count
from typing import Any, NamedTuple, TypeAlias

from account_monitor.cluster.leases import HeldLease, Session, Terms, next_epoch

TERMS = Terms(5.0)
MEMBERS = 3
FAULTY_SECONDS, QUIET_SECONDS = 40.0, 40.0
CLOCKS_APART = 0.04
"""Each clock runs faster or slower than true time by up to this share: two of them differ by less than the margin."""

EVENT_SECONDS = 0.5
ANSWER_SECONDS = 1.5
BATCH = 10
FOLLOWS = 0.15
"""How often who holds nothing looks at the copy, before it looks whether there is anything to hold."""


class Mistake(StrEnum):
    """What could be wrong in the protocol or in a program that follows it."""

    COUNTED_FROM_ANSWER = "counted_from_answer"
    NO_MARGIN = "no_margin"
    CLOCK_SLEEPS = "clock_sleeps"
    SESSION_NOT_ENDED = "session_not_ended"
    RENEWED_WHEN_OVER = "renewed_when_over"
    SAME_EPOCH = "same_epoch"
    NO_FENCE = "no_fence"
    FENCE_BEFORE_WRITE = "fence_before_write"
    CHECKED_ONCE = "checked_once"
    REPLICA_NOT_READ = "replica_not_read"
    TAIL_KEPT = "tail_kept"
    TAIL_DELETED = "tail_deleted"
    SHARED_POSITION = "shared_position"
    GRANT_MISSED = "grant_missed"
    REFUSAL_IGNORED = "refusal_ignored"
    NOT_CLAIMED = "not_claimed"


class Broken(AssertionError):
    """A promise was broken."""


class Entry(NamedTuple):
    """An entry of a journal: an event of the source, chained to all before it."""

    seq: int
    epoch: int
    event: int
    hash: bytes


def chained(journal: list[Entry], epoch: int, event: int) -> Entry:
    """Return the entry that an event makes at the end of a journal."""
    before = journal[-1].hash if journal else b""
    return Entry(len(journal) + 1, epoch, event, sha256(b"%b %d %d" % (before, epoch, event)).digest()[:8])


class Leases:
    """The store: sessions and the lease of one account. Its clock has a rate of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sessions: dict[str, float] = {}
        """When each ends, if it is not renewed."""
        self.epoch, self.holder = 0, ""
        self.granted: list[int] = []

    def join(self, session: str) -> bool:
        self.sessions[session] = self.world.server_time + TERMS.ttl_seconds
        return True

    def beat(self, session: str) -> bool:
        if session not in self.sessions and self.world.mistake is not Mistake.RENEWED_WHEN_OVER:
            return False
        return self.join(session)

    def acquire(self, session: str, above: int) -> int | None:
        now = self.world.server_time
        over = [name for name, ends in self.sessions.items() if ends <= now]
        if self.world.mistake is not Mistake.SESSION_NOT_ENDED:
            for name in over:
                del self.sessions[name]
        if session not in self.sessions or (self.holder in self.sessions and self.holder not in over):
            return None
        if self.world.mistake is not Mistake.SAME_EPOCH or not self.epoch:
            self.epoch = next_epoch(self.epoch, above, int(self.world.wall_time))
        self.holder = session
        self.world.note_grant(self.epoch)
        return self.epoch

    def release(self, session: str) -> None:
        if self.holder == session:
            self.holder = ""

    def epoch_of(self, session: str) -> int | None:
        """Return under which epoch a session has the lease: what the board shows."""
        return self.epoch if self.holder == session else None

    def is_held(self, epoch: int, session: str) -> bool:
        return (self.epoch, self.holder) == (epoch, session) and session in self.sessions


class Database:
    """The copy of the journal. A write names the end that it goes on from, and who writes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.entries: list[Entry] = []
        self.claimed: tuple[int, str] = (0, "")

    def read(self) -> list[Entry]:
        return list(self.entries)

    def claim(self, epoch: int, session: str) -> bool:
        """Shut out older epochs, where leases are elsewhere."""
        if epoch <= self.claimed[0] and (epoch, session) != self.claimed:
            return False
        self.claimed = (epoch, session)
        return True

    def lets(self, epoch: int, session: str) -> bool:
        """The fence."""
        if self.world.is_elsewhere:
            return (epoch, session) == self.claimed
        return self.world.leases.is_held(epoch, session)

    def write(self, epoch: int, session: str, before: int, batch: list[Entry], *, is_fenced: bool) -> bool:
        """Write a batch; return False where the fence refuses it."""
        if is_fenced and not self.lets(epoch, session):
            return False
        end = self.entries[-1].hash if self.entries else b""
        expected = before == len(self.entries) and chained_to(end, batch)
        if not expected:
            return True  # it is there already, or somebody else's is: the next look at the end tells
        self.world.note_write(epoch, session)
        self.entries += batch
        return True


def chained_to(end: bytes, batch: list[Entry]) -> bool:
    """Whether a batch begins where a journal ends that has this hash."""
    first = batch[0]
    return sha256(b"%b %d %d" % (end, first.epoch, first.event)).digest()[:8] == first.hash


def leads_to(copy: list[Entry], journal: list[Entry]) -> bool:
    """Whether a journal goes on from a copy: each hash vouches for all before it."""
    return not copy or (len(journal) >= len(copy) and journal[len(copy) - 1].hash == copy[-1].hash)


class Ask(NamedTuple):
    """A question to a server: it may be late, it may be lost, and so may the answer be. None: no answer in time."""

    question: Callable[[], Any]


class Sleep(NamedTuple):
    seconds: float


Steps: TypeAlias = "Generator[Ask | Sleep, Any, None]"


class Member:
    """One machine with its disk. What is on the disk survives a crash."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.rate = 1 + world.chance.uniform(-CLOCKS_APART, CLOCKS_APART)
        self.paused_until = 0.0
        self.slept = 0.0
        self.runs = 0
        self.journal: list[Entry] = []
        self.aside: list[list[Entry]] = []
        self.start()

    def start(self) -> None:
        """Begin a new process."""
        self.runs += 1
        self.session = Session(self.name, TERMS, f"{self.name}.{self.runs}")
        self.is_joined = False
        self.lease: HeldLease | None = None
        self.is_ready = False
        self.above = 0
        for steps in (self.renew(), self.work()):
            self.world.at(self.world.now, self.world.advance, self, self.runs, steps, None)

    def clock(self) -> float:
        slept = self.slept if self.world.mistake is Mistake.CLOCK_SLEEPS else 0.0
        return (self.world.now - slept) * self.rate

    @property
    def is_valid(self) -> bool:
        """Whether it believes that it may speak."""
        return self.lease is not None and self.lease.is_valid(self.clock())

    def confirm(self, sent_at: float) -> None:
        if self.world.mistake is Mistake.COUNTED_FROM_ANSWER:
            sent_at = self.clock()
        self.session.confirm(sent_at)
        if self.world.mistake is Mistake.NO_MARGIN:
            self.session.valid_until = max(self.session.valid_until, sent_at + TERMS.ttl_seconds)

    def renew(self) -> Steps:
        """Keep the session alive; when it is over, begin another one."""
        leases = self.world.leases
        while True:
            sent_at = self.clock()
            session = self.session.id
            question = leases.beat if self.is_joined else leases.join
            answer = yield Ask(lambda question=question, session=session: question(session))  # type: ignore[misc]
            if answer:
                self.is_joined = True
                self.confirm(sent_at)
            elif answer is False or not self.is_joined:
                self.session.end()
                self.lease, self.is_ready, self.is_joined = None, False, False
                self.runs_again()
                continue
            yield Sleep(TERMS.beat_seconds / self.rate if answer else 0.2)

    def runs_again(self) -> None:
        self.session = Session(self.name, TERMS, f"{self.name}.{self.runs}.{next(self.world.numbers)}")

    def work(self) -> Steps:
        """Take the account when it is free, and record what the source has, and replicate it."""
        while True:
            yield Sleep(self.world.chance.uniform(0.05, 0.4))
            if self.lease is None and self.world.chance.random() < FOLLOWS:
                yield from self.follow()
            if not self.session.is_valid(self.clock()):
                continue
            if self.lease is None:
                session = self.session
                above = max([self.above, *(entry.epoch for entry in self.journal[-1:])])
                epoch = yield Ask(lambda: self.world.leases.acquire(session.id, above))  # noqa: B023 - asked at once
                if epoch is None and self.world.mistake is not Mistake.GRANT_MISSED:
                    epoch = yield Ask(lambda: self.world.leases.epoch_of(session.id))  # noqa: B023 - the answer was lost
                if epoch is None or session is not self.session:
                    continue
                if epoch > self.above:
                    self.lease, self.is_ready = HeldLease("main", epoch, session), False
                else:  # it was given up, and that was lost
                    yield Ask(lambda: self.world.leases.release(session.id))  # noqa: B023 - asked at once
            elif not self.is_ready:
                yield from self.take_over(self.lease)
            else:
                yield from self.speak(self.lease)

    def take_over(self, lease: HeldLease) -> Steps:
        """Go on where the copy ends."""
        world, database = self.world, self.world.database
        if world.is_elsewhere and world.mistake is not Mistake.NOT_CLAIMED:
            is_claimed = yield Ask(lambda: database.claim(lease.epoch, lease.session.id))
            if is_claimed is False:
                yield from self.give_up(lease)
            if not is_claimed:
                return
        copy = yield Ask(database.read)
        if copy is None or lease is not self.lease:
            return
        self.go_on_from(self.journal if world.mistake is Mistake.REPLICA_NOT_READ else copy)
        self.is_ready = True

    def follow(self) -> Steps:
        """Keep the journal up with the copy, which another member writes; what is read may be old by now."""
        copy = yield Ask(self.world.database.read)
        if copy is not None:
            self.go_on_from(copy)

    def go_on_from(self, copy: list[Entry]) -> None:
        """Let the journal be the copy, or what goes on from it."""
        world, mine = self.world, self.journal
        if leads_to(copy, mine):
            pass  # nobody else wrote: what is not replicated yet goes on being this journal's tail
        elif leads_to(mine, copy):
            self.journal = copy
        elif world.mistake is Mistake.TAIL_KEPT:
            pass
        else:
            if world.mistake is not Mistake.TAIL_DELETED:
                self.aside.append(mine)
            self.journal = copy

    def speak(self, lease: HeldLease) -> Steps:
        """Record what is new, and replicate some of it."""
        world = self.world
        is_valid = lease.is_valid(self.clock())
        if world.mistake is Mistake.CHECKED_ONCE:
            yield Sleep(0.0)  # as where something is waited for between the check and the append
        else:
            is_valid = lease.is_valid(self.clock())
        if is_valid:
            position = self.journal[-1].event if self.journal else 0
            if world.mistake is Mistake.SHARED_POSITION:
                position = world.acknowledged
            for event in world.source[position : position + BATCH]:
                world.note_append(self)
                self.journal.append(chained(self.journal, lease.epoch, event))
                world.recorded.add(self.journal[-1])
                world.acknowledged = max(world.acknowledged, event)
        yield Sleep(0.0)
        end = yield Ask(lambda: len(world.database.entries))
        if end is None or not lease.is_valid(self.clock()) or not (batch := self.journal[end : end + BATCH]):
            return
        is_fenced = world.mistake is not Mistake.NO_FENCE
        if world.mistake is Mistake.FENCE_BEFORE_WRITE:
            if not (yield Ask(lambda: world.database.lets(lease.epoch, lease.session.id))):
                return
            is_fenced = False
        is_let = yield Ask(lambda: world.database.write(lease.epoch, lease.session.id, end, batch, is_fenced=is_fenced))
        if is_let is False and world.mistake is not Mistake.REFUSAL_IGNORED:
            yield from self.give_up(lease)

    def give_up(self, lease: HeldLease) -> Steps:
        """Let go of a lease by which the database lets nobody write: the store gave it twice, or forgot who has it."""
        if lease is self.lease:
            self.lease, self.is_ready = None, False
            self.above = max(self.above, lease.epoch, self.world.database.claimed[0])
            yield Ask(lambda: self.world.leases.release(lease.session.id))


class World:
    """Everything, and what goes wrong with it."""

    def __init__(self, seed: int, mistake: Mistake | None = None, *, is_elsewhere: bool = False) -> None:
        """`is_elsewhere`: leases are in a store that may forget the last seconds, as NATS may without fsync."""
        self.chance = random.Random(seed)
        self.mistake = mistake
        self.is_elsewhere = is_elsewhere
        self.now = 0.0
        self.numbers = count()
        self.queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.is_faulty = True
        self.server_rate = 1 + self.chance.uniform(-CLOCKS_APART, CLOCKS_APART)
        self.source: list[int] = []
        self.acknowledged = 0
        self.recorded: set[Entry] = set()
        self.written_under = 0
        self.leases, self.database = Leases(self), Database(self)
        self.members = [Member(self, f"m{number}") for number in range(MEMBERS)]

    @property
    def server_time(self) -> float:
        return self.now * self.server_rate

    @property
    def wall_time(self) -> float:
        """What some machine takes for the time; where leases are elsewhere each member asks its own clock."""
        return 1_000 + self.now + (self.chance.uniform(-3, 3) if self.is_elsewhere else 0)

    # -- time --------------------------------------------------------------------------------------------------------

    def at(self, when: float, do: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self.queue, (when, next(self.numbers), do, args))

    def run(self) -> None:
        """Let everything go wrong for a while, and then nothing: all must come right."""
        self.at(0.0, self.publish)
        self.at(1.0, self.break_something)
        while self.queue and self.queue[0][0] <= FAULTY_SECONDS + QUIET_SECONDS:
            self.now, _, do, args = heapq.heappop(self.queue)
            if self.is_faulty and self.now > FAULTY_SECONDS:
                self.is_faulty = False
            do(*args)
            self.check()
        self.check_end()

    def publish(self) -> None:
        self.source.append(len(self.source) + 1)
        if self.now < FAULTY_SECONDS + QUIET_SECONDS / 2:
            self.at(self.now + self.chance.expovariate(1 / EVENT_SECONDS), self.publish)

    def advance(self, member: Member, run: int, steps: Steps, answer: Any) -> None:
        """Let a member do its next step, unless it died or is stopped."""
        if member.runs != run:
            return
        if member.paused_until > self.now:
            self.at(member.paused_until, self.advance, member, run, steps, answer)
            return
        if self.is_faulty and self.chance.random() < 0.01:
            self.pause(member)
            self.at(member.paused_until, self.advance, member, run, steps, answer)
            return
        step = steps.send(answer)
        if isinstance(step, Sleep):
            self.at(self.now + step.seconds, self.advance, member, run, steps, None)
        else:
            self.ask(member, run, steps, step.question)

    def pause(self, member: Member) -> None:
        seconds = self.chance.choice([0.5, 2.0, 6.0, 12.0]) * self.chance.random()
        member.paused_until = self.now + seconds
        member.slept += seconds

    def ask(self, member: Member, run: int, steps: Steps, question: Callable[[], Any]) -> None:
        """Hand on a question and its answer; the first that happens, answer or time-out, is what the member gets."""
        there, back = self.delay(), self.delay()
        is_answered = False

        def go_on(answer: Any) -> None:
            nonlocal is_answered
            if not is_answered:
                is_answered = True
                self.advance(member, run, steps, answer)

        def arrive() -> None:
            answer = question()
            if back is not None:
                self.at(self.now + back, go_on, answer)

        if there is not None:
            self.at(self.now + there, arrive)
        self.at(self.now + ANSWER_SECONDS, go_on, None)

    def delay(self) -> float | None:
        """Return how long a message takes, None where it is lost. A late one is heeded when nobody expects it."""
        if not self.is_faulty or (chance := self.chance.random()) > 0.15:
            return self.chance.uniform(0.001, 0.05)
        return None if chance < 0.05 else self.chance.uniform(0.05, 10.0)

    def break_something(self) -> None:
        if not self.is_faulty:
            return
        member = self.chance.choice(self.members)
        match self.chance.choice(["crash", "pause", "pause", "nothing", "amnesia"]):
            case "crash":
                member.runs += 1  # until it starts, nobody is there
                member.lease, member.is_ready = None, False
                self.at(self.now + self.chance.uniform(0.1, 15), member.start)
            case "pause":
                self.pause(member)
            case "amnesia" if self.is_elsewhere:
                self.at(self.now + self.chance.uniform(0, 4), self.forget, *self.remembered())
            case _:
                pass
        self.at(self.now + self.chance.uniform(0.5, 5), self.break_something)

    def remembered(self) -> tuple[dict[str, float], int, str]:
        return dict(self.leases.sessions), self.leases.epoch, self.leases.holder

    def forget(self, sessions: dict[str, float], epoch: int, holder: str) -> None:
        """Let the store of the leases lose what it acknowledged since a moment."""
        if self.is_faulty:
            self.leases.sessions, self.leases.epoch, self.leases.holder = sessions, epoch, holder

    # -- promises ----------------------------------------------------------------------------------------------------

    def demand(self, is_kept: bool, promise: str) -> None:
        if not is_kept:
            raise Broken(f"at {self.now:.3f} s: {promise}")

    def note_grant(self, epoch: int) -> None:
        if not self.is_elsewhere:  # a store that forgets may give one twice: then the database lets the first write
            self.demand(epoch > max(self.leases.granted, default=0), f"epoch {epoch} was granted before, or a younger")
        self.leases.granted.append(epoch)

    def note_write(self, epoch: int, session: str) -> None:
        self.demand(epoch >= self.written_under, f"epoch {epoch} wrote after epoch {self.written_under}")
        if not self.is_elsewhere:
            self.demand(self.leases.is_held(epoch, session), f"{session} wrote under epoch {epoch}, which it had lost")
        self.written_under = epoch

    def note_append(self, member: Member) -> None:
        if not self.is_elsewhere:
            others = [other.name for other in self.members if other is not member and other.is_valid]
            self.demand(not others, f"{member.name} recorded while {others} might")

    def check(self) -> None:
        """Look at everything at once, as nobody in the world can."""
        valid = [member for member in self.members if member.is_valid]
        if not self.is_elsewhere:
            self.demand(len(valid) <= 1, f"{[member.name for member in valid]} may speak at once")
        for member in valid:
            assert member.lease is not None  # it is valid
            if member.is_ready and self.database.lets(member.lease.epoch, member.lease.session.id):
                self.demand(leads_to(self.database.entries, member.journal), f"{member.name} forked from the copy")

    def check_end(self) -> None:
        copy = self.database.entries
        self.demand([entry.event for entry in copy] == self.source, "events are missing from the copy, or twice in it")
        epochs = [entry.epoch for entry in copy]
        self.demand(epochs == sorted(epochs), "an older epoch comes after a younger one")
        kept = {*copy, *(entry for member in self.members for entry in self.on_disk(member))}
        self.demand(self.recorded <= kept, "what was recorded is nowhere any more")

    @staticmethod
    def on_disk(member: Member) -> Iterator[Entry]:
        yield from member.journal
        for journal in member.aside:
            yield from journal


def explore(seeds: range, mistake: Mistake | None = None, *, is_elsewhere: bool = False) -> tuple[int, Broken] | None:
    """Return the first seed in which a promise is broken, None where all are kept."""
    for seed in seeds:
        try:
            World(seed, mistake, is_elsewhere=is_elsewhere).run()
        except Broken as broken:
            return seed, broken
    return None


def main() -> None:
    """Look at many worlds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--mistake", type=Mistake, choices=list(Mistake))
    parser.add_argument("--elsewhere", action="store_true", help="leases in a store that forgets")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)
    found = explore(seeds, asked.mistake, is_elsewhere=asked.elsewhere)
    sys.stdout.write("every promise was kept\n" if found is None else f"seed {found[0]}: {found[1]}\n")
    raise SystemExit(found is not None)


if __name__ == "__main__":
    main()

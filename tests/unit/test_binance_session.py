"""The user-stream session: every transition, every rule of keys and sockets, and what holds whatever happens."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from account_monitor.feeds.binance.pace import LONGEST_BACKOFF_SECONDS, SLOW_SECONDS
from account_monitor.feeds.binance.session import (
    ALARM_AFTER_SECONDS,
    KEY_SECONDS,
    KEY_TABLE,
    OVERLAP_SECONDS,
    PROOF_SECONDS,
    SOCKET_TABLE,
    STREAM_STALE,
    Action,
    Alarm,
    Backfill,
    Clear,
    Close,
    Connect,
    KeepKeyAlive,
    KeyEffect,
    KeyInput,
    KeyState,
    ObtainKey,
    Ping,
    SocketEffect,
    SocketInput,
    SocketState,
    StreamSettings,
    UserStreamSession,
)

A = TypeVar("A")
HOUR = 3600.0


def of(kind: type[A], actions: Iterable[Action]) -> list[A]:
    """Return the actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]


class Rig:
    """A session, its clock, and everything that it ever asked for."""

    def __init__(self, *, seed: int = 7, stream: StreamSettings | None = None) -> None:
        self.now = 1000.0
        self.session = UserStreamSession(self.now, stream or StreamSettings(), random.Random(seed))
        self.done: list[Action] = []

    def take(self, actions: list[Action]) -> list[Action]:
        """Keep what was asked for."""
        self.done += actions
        return actions

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass, with a tick whenever one is due; pings are answered at once."""
        until, done = self.now + seconds, []
        while (due := self.session.next_due(self.now)) is not None and due <= until:
            self.now = due
            done += self.take(self.session.tick(self.now))
            for ping in of(Ping, done[-8:]):
                if ping.socket in self.session.sockets:
                    done += self.take(self.session.pong(self.now, ping.socket))
        self.now = until
        return done

    def wait_silently(self, seconds: float) -> list[Action]:
        """Let time pass, and answer no ping."""
        until, done = self.now + seconds, []
        while (due := self.session.next_due(self.now)) is not None and due <= until:
            self.now = due
            done += self.take(self.session.tick(self.now))
        self.now = until
        return done

    def start(self) -> list[Action]:
        """Go live on key K1 with socket 1, and fetch what was before."""
        self.take(self.session.tick(self.now))
        self.take(self.session.key_obtained(self.now, "K1"))
        return self.go_live(1) + self.take(self.session.backfilled(self.now))

    def go_live(self, socket: int) -> list[Action]:
        """Let a socket connect and prove itself."""
        return self.take(self.session.connected(self.now, socket)) + self.take(self.session.pong(self.now, socket))

    def until(self, kind: type[A], seconds: float = 24 * HOUR) -> list[Action]:
        """Let time pass until something of this kind is asked for."""
        end = self.now + seconds
        while (due := self.session.next_due(self.now)) is not None and due <= end:
            done = self.wait(due - self.now)
            if of(kind, done):
                return done
        raise AssertionError(f"no {kind.__name__} within {seconds} s")


@pytest.fixture
def rig() -> Rig:
    """Return a session that is live."""
    rig = Rig()
    rig.start()
    return rig


# -- the tables --------------------------------------------------------------------------------------------------------


def test_every_state_and_input_of_the_key_has_an_outcome() -> None:
    outcomes = {(state, input_): KEY_TABLE[state][input_] for state in KeyState for input_ in KeyInput}

    assert len(outcomes) == len(KeyState) * len(KeyInput)
    assert {effect for _, effect in outcomes.values()} == set(KeyEffect)


def test_every_state_and_input_of_a_socket_has_an_outcome() -> None:
    outcomes = {(state, input_): SOCKET_TABLE[state][input_] for state in SocketState for input_ in SocketInput}

    assert len(outcomes) == len(SocketState) * len(SocketInput)
    assert {effect for _, effect in outcomes.values()} == set(SocketEffect)


def test_a_key_is_asked_for_once_at_a_time() -> None:
    asking = {(state, input_) for state in KeyState for input_ in KeyInput
              if KEY_TABLE[state][input_][1] is KeyEffect.ASK}  # fmt: skip

    assert asking == {(KeyState.ABSENT, KeyInput.DUE), (KeyState.VALID, KeyInput.SOCKET_LOST),
                      (KeyState.REQUESTED, KeyInput.OUTDATED)}  # fmt: skip


def test_no_transition_leaves_closed() -> None:
    assert set(SOCKET_TABLE[SocketState.CLOSED].values()) == {(SocketState.CLOSED, SocketEffect.NOTHING)}


@pytest.mark.parametrize("state", list(SocketState))
@pytest.mark.parametrize("input_", list(SocketInput))
def test_a_socket_is_live_only_after_it_spoke(state: SocketState, input_: SocketInput) -> None:
    becomes_live = SOCKET_TABLE[state][input_][0] is SocketState.LIVE and state is not SocketState.LIVE

    assert becomes_live == (
        (state, input_) in {(SocketState.PROVING, SocketInput.SPOKE), (SocketState.RETIRING, SocketInput.BEREAVED)}
    )


# -- starting ----------------------------------------------------------------------------------------------------------


def test_it_asks_for_a_key_connects_proves_itself_and_fetches_what_was_before() -> None:
    rig = Rig()

    assert rig.session.tick(rig.now) == [ObtainKey()]
    assert rig.session.key_obtained(rig.now, "K1") == [Connect(1, "K1")]
    assert rig.session.connected(rig.now, 1) == [Ping(1)]
    assert (rig.session.is_live, rig.session.is_whole) == (False, False)
    assert rig.session.pong(rig.now, 1) == [Backfill("start")]
    assert (rig.session.is_live, rig.session.is_whole) == (True, False)
    assert rig.session.backfilled(rig.now) == []
    assert (rig.session.is_live, rig.session.is_whole) == (True, True)


def test_a_message_proves_a_socket_as_well_as_a_pong() -> None:
    rig = Rig()
    rig.session.tick(rig.now)
    rig.session.key_obtained(rig.now, "K1")
    rig.session.connected(rig.now, 1)

    assert rig.session.heard(rig.now, 1) == [Backfill("start")]


def test_a_socket_that_connects_and_never_answers_is_given_up() -> None:
    rig = Rig()
    rig.session.tick(rig.now)
    rig.session.key_obtained(rig.now, "K1")
    rig.session.connected(rig.now, 1)

    done = rig.wait_silently(PROOF_SECONDS)

    assert [close.socket for close in of(Close, done)] == [1]
    assert of(ObtainKey, done), "the key may be the reason"
    assert not of(Backfill, done)


def test_no_key_and_no_secret_shows_in_a_representation() -> None:
    assert "SECRET" not in repr([Connect(1, "SECRET"), KeepKeyAlive("SECRET")])


# -- the listen key ----------------------------------------------------------------------------------------------------


def test_the_key_is_extended_every_twenty_to_thirty_minutes(rig: Rig) -> None:
    for _ in range(10):
        began = rig.now
        done = rig.until(KeepKeyAlive)
        assert of(KeepKeyAlive, done) == [KeepKeyAlive("K1")]
        assert 20 * 60 <= rig.now - began <= 30 * 60
        assert rig.session.keepalive_ok(rig.now, "K1", "K1") == []


def test_an_extension_that_fails_is_tried_again_long_before_the_hour_is_over(rig: Rig) -> None:
    began = rig.now
    attempts = 0
    while rig.now < began + KEY_SECONDS - 120:
        rig.until(KeepKeyAlive)
        attempts += 1
        rig.take(rig.session.keepalive_failed(rig.now, "K1", "HTTP 503"))

    assert attempts > 20
    assert rig.session.is_whole, "the key is still valid"


def test_a_key_that_could_not_be_extended_for_an_hour_is_replaced(rig: Rig) -> None:
    began = rig.now
    while not of(ObtainKey, (done := rig.wait(1))):
        for put in of(KeepKeyAlive, done):
            rig.take(rig.session.keepalive_failed(rig.now, put.key, "HTTP 503"))

    assert rig.now - began == pytest.approx(KEY_SECONDS, abs=2)
    assert rig.session.sockets == {1: SocketState.DOUBTED}
    assert rig.session.key_obtained(rig.now, "K2") == [Connect(2, "K2")]
    assert of(Backfill, rig.go_live(2)) == [Backfill("the listen key could not be extended within its hour")]


def test_a_refused_keep_alive_gives_a_new_key_and_a_new_socket(rig: Rig) -> None:
    rig.until(KeepKeyAlive)

    assert rig.session.keepalive_refused(rig.now, "K1") == [ObtainKey()]
    assert rig.session.key_obtained(rig.now, "K2") == [Connect(2, "K2")]
    done = rig.go_live(2)

    assert [type(action) for action in done] == [Ping, Close, Backfill]
    assert rig.session.sockets == {2: SocketState.LIVE}


def test_two_expirations_at_once_give_one_rotation(rig: Rig) -> None:
    assert rig.session.key_expired(rig.now, "K1") == [ObtainKey()]
    assert rig.session.key_expired(rig.now, "K1") == []
    assert rig.session.key_obtained(rig.now, "K2") == [Connect(2, "K2")]
    assert rig.session.key_expired(rig.now, "K1") == [], "that one was replaced"
    assert of(Backfill, rig.go_live(2)) == [Backfill("the listen key has expired")]
    assert rig.session.key_expired(rig.now, "K1") == []
    assert rig.session.sockets == {2: SocketState.LIVE}


@pytest.mark.parametrize("is_connected", [False, True])
def test_a_socket_that_is_being_opened_on_a_key_that_dies_is_given_up(rig: Rig, is_connected: bool) -> None:
    rig.session.closed(rig.now, 1, 1006, "")
    if is_connected:
        rig.session.connected(rig.now, 2)

    assert of(Close, rig.session.key_expired(rig.now, "K1")) == [Close(2, "the listen key has expired")]
    assert rig.session.sockets == {}


def test_an_expired_key_that_the_exchange_gives_again_is_not_asked_for_without_pause(rig: Rig) -> None:
    asked = 0
    for socket in range(2, 40):
        asked += len(of(ObtainKey, rig.take(rig.session.key_expired(rig.now, "K1")) or rig.until(ObtainKey)))
        if not of(Connect, rig.take(rig.session.key_obtained(rig.now, "K1"))):
            rig.until(Connect)
        rig.go_live(socket)

    assert asked == 38
    assert rig.now - 1000 > 60, "they were slowed down"


def test_an_answer_that_names_the_key_which_died_meanwhile_is_asked_for_again(rig: Rig) -> None:
    assert of(ObtainKey, rig.session.closed(rig.now, 1, 1006, ""))
    assert not of(ObtainKey, rig.session.key_expired(rig.now, "K1")), "one question is under way"

    assert rig.session.key_obtained(rig.now, "K1") == [ObtainKey()]
    assert of(Connect, rig.session.key_obtained(rig.now, "K1") + rig.wait(60)) == [Connect(3, "K1")]


def test_an_extension_of_another_key_means_that_ours_is_dead(rig: Rig) -> None:
    rig.until(KeepKeyAlive)

    assert rig.session.keepalive_ok(rig.now, "K1", "K2") == [Connect(2, "K2")]
    assert rig.session.sockets == {1: SocketState.DOUBTED, 2: SocketState.CONNECTING}
    assert of(Backfill, rig.go_live(2)) == [Backfill("the exchange has replaced the listen key")]


def test_answers_about_a_key_that_is_not_ours_any_more_change_nothing(rig: Rig) -> None:
    rig.until(KeepKeyAlive)
    rig.session.key_expired(rig.now, "K1")
    rig.session.key_obtained(rig.now, "K2")

    assert rig.session.keepalive_refused(rig.now, "K1") == []
    assert rig.session.keepalive_failed(rig.now, "K1", "late", refused=True) == []
    assert rig.session.keepalive_ok(rig.now, "K1") == []
    assert rig.session.key_state is KeyState.VALID


def test_a_refused_api_key_is_alarmed_and_asked_about_slowly() -> None:
    rig = Rig()
    rig.take(rig.session.tick(rig.now))
    done = rig.take(rig.session.key_failed(rig.now, "code -2015", refused=True))
    assert done == [Alarm(STREAM_STALE, "code -2015")]

    moments = []
    for _ in range(5):
        assert of(ObtainKey, rig.until(ObtainKey))
        moments.append(rig.now)
        rig.take(rig.session.key_failed(rig.now, "code -2015", refused=True))

    assert all(later - earlier >= SLOW_SECONDS / 2 for earlier, later in pairwise(moments))


def test_a_refused_api_key_leaves_a_stream_that_is_heard_alone_but_alarms(rig: Rig) -> None:
    rig.until(KeepKeyAlive)

    assert rig.session.keepalive_failed(rig.now, "K1", "code -2015", refused=True) == [
        Alarm(STREAM_STALE, "code -2015")
    ]
    assert rig.session.is_whole
    rig.until(KeepKeyAlive)
    assert rig.session.keepalive_ok(rig.now, "K1") == [Clear(STREAM_STALE)]


# -- sockets -----------------------------------------------------------------------------------------------------------


def test_a_closed_socket_is_replaced_at_once_on_the_same_key_which_is_asked_about(rig: Rig) -> None:
    rig.wait(120)

    assert rig.session.closed(rig.now, 1, 1006, "") == [ObtainKey(), Connect(2, "K1")]
    assert rig.session.key_obtained(rig.now, "K1") == []
    assert of(Backfill, rig.go_live(2)) == [Backfill("the connection ended with code 1006")]


def test_a_key_that_was_replaced_while_the_socket_was_lost_costs_another_socket(rig: Rig) -> None:
    rig.session.closed(rig.now, 1, 1001, "going away")
    rig.go_live(2)

    assert rig.session.key_obtained(rig.now, "K2") == [Connect(3, "K2")]
    assert rig.session.sockets == {2: SocketState.DOUBTED, 3: SocketState.CONNECTING}
    assert of(Backfill, rig.go_live(3)), "socket 2 heard nothing"


def test_reconnects_go_on_for_ever_with_a_bounded_random_backoff(rig: Rig) -> None:
    rig.session.closed(rig.now, 1, 1006, "")
    rig.session.key_failed(rig.now, "HTTP 503")
    waits, socket = [], 2
    for _ in range(300):
        began = rig.now
        done = rig.take(rig.session.connect_failed(rig.now, socket, "refused"))
        if not of(Connect, done):
            done = rig.until(Connect)
        if of(ObtainKey, rig.done[-4:]):
            rig.take(rig.session.key_obtained(rig.now, "K1"))
        socket = of(Connect, done)[0].socket
        waits.append(rig.now - began)

    assert max(waits) <= LONGEST_BACKOFF_SECONDS
    assert 20 < sum(waits[50:]) / 250 < 40, "full jitter: half of the bound on average"
    assert waits[0] <= 5


def test_a_stable_minute_ends_a_series_of_failures(rig: Rig) -> None:
    for socket in range(1, 8):
        rig.take(rig.session.closed(rig.now, socket, 1006, ""))
        rig.take(rig.session.key_obtained(rig.now, "K1"))
        if socket + 1 not in rig.session.sockets:
            rig.until(Connect)
        rig.go_live(socket + 1)
    rig.wait(61)

    assert of(Connect, rig.session.closed(rig.now, 8, 1006, "")), "the first attempt is immediate again"


def test_a_banned_handshake_is_tried_again_slowly_and_alarmed(rig: Rig) -> None:
    rig.session.closed(rig.now, 1, 1006, "")
    began = rig.now

    done = rig.session.connect_failed(rig.now, 2, "HTTP 418", is_banned=True)

    assert of(Alarm, done) == [Alarm(STREAM_STALE, "HTTP 418")]
    rig.take(rig.session.key_obtained(rig.now, "K1"))
    rig.until(Connect)
    assert rig.now - began >= SLOW_SECONDS / 2


def test_pings_go_out_and_an_idle_stream_that_answers_is_left_alone(rig: Rig) -> None:
    pings = of(Ping, rig.wait(1000))

    assert len(pings) == 33
    assert not of(Alarm, rig.done)


def test_a_half_open_connection_is_found_closed_alarmed_and_replaced(rig: Rig) -> None:
    rig.wait(300)
    began = rig.now
    done: list[Action] = []
    while not of(Close, done):
        done = rig.wait_silently(1)

    assert rig.now - began <= 61
    assert [type(action) for action in done] == [Close, ObtainKey, Alarm, Connect]
    done = rig.go_live(2)
    assert of(Backfill, done)
    assert not of(Clear, done)
    assert rig.session.backfilled(rig.now) == [Clear(STREAM_STALE)]


def test_messages_are_signs_of_life_even_when_pongs_are_missing(rig: Rig) -> None:
    for _ in range(20):
        rig.wait_silently(30)
        rig.take(rig.session.heard(rig.now, 1))

    assert not of(Close, rig.done)


def test_a_timeout_shorter_than_the_ping_interval_does_not_cut_an_idle_stream() -> None:
    rig = Rig(stream=StreamSettings(ping_interval_seconds=30, timeout_seconds=10))
    rig.start()

    rig.wait(600)

    assert not of(Close, rig.done)


def test_a_socket_that_nobody_reads_is_not_blamed_for_its_silence(rig: Rig) -> None:
    rig.session.hold(rig.now, 1)
    rig.wait_silently(300)
    assert not of(Close, rig.done)

    rig.session.release(rig.now, 1)
    rig.wait_silently(59)
    assert not of(Close, rig.done)
    rig.wait_silently(2)
    assert of(Close, rig.done)


def test_a_short_reconnect_is_not_alarmed_and_a_longer_one_is_once(rig: Rig) -> None:
    rig.take(rig.session.closed(rig.now, 1, 1006, ""))
    rig.wait(ALARM_AFTER_SECONDS - 1)
    assert not of(Alarm, rig.done)

    rig.wait(600)

    assert of(Alarm, rig.done) == [Alarm(STREAM_STALE, "the connection ended with code 1006")]


def test_inputs_about_closed_sockets_change_nothing(rig: Rig) -> None:
    for number in (0, 99):
        assert rig.session.connected(rig.now, number) == []
        assert rig.session.connect_failed(rig.now, number, "late", is_banned=True) == []
        assert rig.session.closed(rig.now, number, 1000, "") == []
        assert rig.session.pong(rig.now, number) == []
        assert rig.session.heard(rig.now, number) == []
        rig.session.hold(rig.now, number)
        rig.session.release(rig.now, number)
    assert rig.session.sockets == {1: SocketState.LIVE}


# -- planned rotation --------------------------------------------------------------------------------------------------


def keep_key(rig: Rig, done: list[Action]) -> None:
    for put in of(KeepKeyAlive, done):
        rig.take(rig.session.keepalive_ok(rig.now, put.key, put.key))


def rotate(rig: Rig) -> int:
    """Wait for the planned rotation and return the number of the new socket."""
    while True:
        done = rig.until(KeepKeyAlive) if rig.session.key_state is not KeyState.VALID else rig.wait(60)
        keep_key(rig, done)
        connects = of(Connect, done)
        if connects:
            return connects[0].socket


def test_a_planned_rotation_overlaps_on_the_same_key_and_needs_no_backfill(rig: Rig) -> None:
    began = rig.now
    new = rotate(rig)
    assert 22 * HOUR <= rig.now - began <= 23 * HOUR + 120
    assert rig.session.sockets == {1: SocketState.LIVE, new: SocketState.CONNECTING}

    done = rig.go_live(new) + rig.wait(OVERLAP_SECONDS - 1)
    assert rig.session.sockets == {1: SocketState.RETIRING, new: SocketState.LIVE}
    done += rig.wait(2)

    assert of(Close, done) == [Close(1, "its successor is live")]
    assert not of(Backfill, done)
    assert not of(Alarm, rig.done)


def test_a_rotation_that_fails_keeps_the_old_socket_and_is_tried_again(rig: Rig) -> None:
    new = rotate(rig)
    for attempt in range(5):
        done = rig.take(rig.session.connect_failed(rig.now, new + attempt, "refused"))
        if of(ObtainKey, done):
            done += rig.take(rig.session.key_obtained(rig.now, "K1"))
        assert rig.session.is_whole
        if not of(Connect, done):
            rig.until(Connect)
    done = rig.go_live(new + 5) + rig.wait(20)

    assert len(of(Backfill, rig.done)) == 1, "only that of the start"
    assert rig.session.sockets == {new + 5: SocketState.LIVE}


def test_the_old_socket_carries_on_when_the_new_one_dies_in_the_overlap(rig: Rig) -> None:
    new = rotate(rig)
    rig.go_live(new)
    rig.wait(3)

    done = rig.session.closed(rig.now, new, 1006, "")

    assert rig.session.sockets[1] is SocketState.LIVE
    assert not of(Backfill, done)
    assert rig.session.is_whole


def test_a_gap_in_the_middle_of_a_rotation_is_fetched(rig: Rig) -> None:
    new = rotate(rig)
    rig.session.closed(rig.now, 1, 1006, "24 hours")

    assert of(Backfill, rig.go_live(new)) == [Backfill("the connection ended with code 1006 (24 hours)")]


def test_a_new_socket_that_is_silent_while_the_old_one_hears_is_not_trusted(rig: Rig) -> None:
    new = rotate(rig)
    rig.go_live(new)
    rig.wait(5)
    rig.session.heard(rig.now, 1)
    rig.wait(OVERLAP_SECONDS - 1)
    assert rig.session.sockets == {1: SocketState.RETIRING, new: SocketState.LIVE}, "the verdict is still out"

    done = rig.wait(2)

    assert [close.socket for close in of(Close, done)] == [new]
    assert rig.session.sockets[1] is SocketState.LIVE
    assert not of(Backfill, done)


def test_a_new_socket_that_hears_the_same_message_later_is_trusted(rig: Rig) -> None:
    new = rotate(rig)
    rig.go_live(new)
    rig.session.heard(rig.now, 1)
    rig.wait(1)
    rig.session.heard(rig.now, new)
    rig.session.heard(rig.now, 1)

    rig.wait(OVERLAP_SECONDS)

    assert rig.session.sockets == {new: SocketState.LIVE}


def overlapping() -> tuple[Rig, int]:
    """Return a session in the middle of a planned rotation, and the number of the new socket."""
    rig = Rig()
    rig.start()
    new = rotate(rig)
    rig.go_live(new)
    assert rig.session.sockets == {1: SocketState.RETIRING, new: SocketState.LIVE}
    return rig, new


def test_the_end_of_the_old_socket_in_the_overlap_changes_nothing() -> None:
    rig, new = overlapping()

    assert rig.session.closed(rig.now, 1, 1006, "24 hours") == []
    assert rig.session.sockets == {new: SocketState.LIVE}
    assert rig.session.is_whole


def test_an_old_socket_that_says_nothing_in_a_long_overlap_is_closed() -> None:
    rig = Rig(stream=StreamSettings(ping_interval_seconds=2, timeout_seconds=4))
    rig.start()
    new = rotate(rig)
    rig.go_live(new)
    done: list[Action] = []
    while 1 in rig.session.sockets:
        rig.session.heard(rig.now, new)
        done += rig.wait_silently(1)

    assert [close.reason for close in of(Close, done)] == ["no sign of life for 4 s"]
    assert rig.session.is_whole


def test_a_key_that_dies_in_the_overlap_leaves_one_socket_to_be_replaced() -> None:
    rig, new = overlapping()

    done = rig.session.key_expired(rig.now, "K1")

    assert of(Close, done) == [Close(1, "the listen key has expired")]
    assert rig.session.sockets == {new: SocketState.DOUBTED}


def test_the_verdict_on_a_new_socket_waits_while_nobody_reads() -> None:
    rig, new = overlapping()
    rig.session.heard(rig.now, 1)
    for socket in (1, new):
        rig.session.hold(rig.now, socket)
    rig.wait(30)
    for socket in (1, new):
        rig.session.release(rig.now, socket)
    rig.wait(OVERLAP_SECONDS - 1)
    assert rig.session.sockets[new] is SocketState.LIVE

    rig.session.heard(rig.now, new)
    rig.wait(2)
    assert rig.session.sockets == {new: SocketState.LIVE}


# -- stale -------------------------------------------------------------------------------------------------------------


def test_a_stream_that_did_not_tell_is_replaced_and_the_old_socket_is_closed_after_the_new_one_is_live(
    rig: Rig,
) -> None:
    rig.wait(61)

    assert rig.session.stale(rig.now, "wallet moved") == [Alarm(STREAM_STALE, "wallet moved"), ObtainKey()]
    assert rig.session.sockets == {1: SocketState.DOUBTED}
    assert rig.session.key_obtained(rig.now, "K1") == [Connect(2, "K1")], "POST gives the active key again"
    done = rig.go_live(2)

    assert done == [Ping(2), Close(1, "its successor is live"), Backfill("wallet moved")]
    assert rig.session.backfilled(rig.now) == [Clear(STREAM_STALE)]


def test_staleness_that_is_said_again_and_again_does_not_reconnect_without_pause(rig: Rig) -> None:
    began, rotations = rig.now, 0
    while rig.now < began + 600:
        done = rig.take(rig.session.stale(rig.now, "wallet moved")) + rig.wait(0.5)
        if of(ObtainKey, done):
            rotations += 1
            rig.take(rig.session.key_obtained(rig.now, "K1"))
        for number, state in rig.session.sockets.items():
            if state is SocketState.CONNECTING:
                rig.go_live(number)

    assert 5 < rotations < 60


def test_staleness_while_a_better_socket_is_under_way_changes_nothing(rig: Rig) -> None:
    rig.session.closed(rig.now, 1, 1006, "")

    assert rig.session.stale(rig.now, "wallet moved") == []


def test_staleness_counts_while_the_key_is_being_extended_and_while_it_is_asked_about(rig: Rig) -> None:
    rig.until(KeepKeyAlive)
    assert of(ObtainKey, rig.session.stale(rig.now, "wallet moved"))
    rig.session.key_obtained(rig.now, "K1")
    rig.go_live(2)

    assert of(ObtainKey, rig.session.closed(rig.now, 2, 1006, ""))
    rig.until(Connect)
    rig.go_live(3)
    assert rig.session.key_state is KeyState.CONFIRMING
    assert not of(ObtainKey, rig.session.stale(rig.now, "wallet moved")), "one question is under way"
    assert rig.session.sockets == {3: SocketState.DOUBTED}
    assert of(Connect, rig.session.key_obtained(rig.now, "K1") + rig.wait(60)) == [Connect(4, "K1")]


def test_a_connection_that_ends_before_it_is_there_is_made_again(rig: Rig) -> None:
    rig.wait(61)
    rig.session.closed(rig.now, 1, 1006, "")
    rig.take(rig.session.closed(rig.now, 2, 1006, ""))

    assert of(Connect, rig.done[-1:] + rig.wait(5)) == [Connect(3, "K1")]


# -- whatever happens --------------------------------------------------------------------------------------------------


class Venue(RuleBasedStateMachine):
    """An exchange and a network that do anything, at any time, and what has to hold all the while."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.is_asked = False
        self.extending: list[str] = []
        self.connecting: set[int] = set()
        self.open: dict[int, bool] = {}  # connected sockets, and whether they spoke
        self.key_of: dict[int, str] = {}
        self.doomed: set[int] = set()  # sockets whose key died, or that were said to be stale
        self.is_covered = False
        self.is_alarmed = False
        self.keys = 0

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.session = UserStreamSession(self.now, StreamSettings(), random.Random(seed))
        self.do(self.session.tick(self.now))

    def do(self, actions: list[Action]) -> None:
        """Take what is asked for, and compare with what is true."""
        assert len(actions) <= 8
        backfills = 0
        for action in actions:
            match action:
                case ObtainKey():
                    assert not self.is_asked, "asked twice at once"
                    self.is_asked = True
                case KeepKeyAlive(key):
                    self.extending.append(key)
                case Connect(socket, key):
                    assert socket not in self.key_of, "a number was used twice"
                    assert not self.connecting, "two sockets connect at once"
                    self.connecting.add(socket)
                    self.key_of[socket] = key
                case Close(socket):
                    self.forget(socket)
                case Ping(socket):
                    assert socket in self.open
                case Backfill():
                    backfills += 1
                case Alarm():
                    assert not self.is_alarmed, "alarmed twice"
                    self.is_alarmed = True
                case Clear():
                    assert self.is_alarmed
                    assert self.session.is_whole
                    self.is_alarmed = False
        was_covered, self.is_covered = self.is_covered, bool(self.covering())
        assert backfills == (self.is_covered and not was_covered), "one for each gap, and none without"

    def covering(self) -> list[int]:
        states = self.session.sockets
        return [number for number in states if states[number] in (SocketState.LIVE, SocketState.RETIRING)]

    def forget(self, socket: int) -> None:
        self.connecting.discard(socket)
        self.open.pop(socket, None)

    def doom(self, key: str) -> None:
        self.doomed |= {number for number in self.session.sockets if self.key_of[number] == key}

    def new_key(self) -> str:
        self.keys += 1
        return f"K{self.keys}"

    @rule(seconds=st.one_of(st.floats(0, 100), st.floats(0, 30_000)))
    def wait(self, seconds: float) -> None:
        """Ticks come when due, as the driver promises."""
        until = self.now + seconds
        for _ in range(2000):
            due = self.session.next_due(self.now)
            if due is None or due > until:
                break
            self.now = due
            self.do(self.session.tick(self.now))
            after = self.session.next_due(self.now)
            assert after is None or after > self.now, "what was due is done"
        self.now = max(self.now, until)

    @precondition(lambda self: self.is_asked)
    @rule(same=st.booleans())
    def give_key(self, same: bool) -> None:
        self.is_asked = False
        key = f"K{self.keys}" if same and self.keys else self.new_key()
        self.doomed |= {number for number in self.session.sockets if self.key_of[number] != key}
        self.do(self.session.key_obtained(self.now, key))

    @precondition(lambda self: self.is_asked)
    @rule(refused=st.booleans())
    def give_no_key(self, refused: bool) -> None:
        self.is_asked = False
        self.do(self.session.key_failed(self.now, "no", refused=refused))

    @precondition(lambda self: self.extending)
    @rule(outcome=st.sampled_from(["ok", "refused", "failed", "replaced"]))
    def answer_extension(self, outcome: str) -> None:
        key = self.extending.pop(0)
        match outcome:
            case "ok":
                self.do(self.session.keepalive_ok(self.now, key, key))
            case "refused":
                self.doom(key)
                self.do(self.session.keepalive_refused(self.now, key))
            case "failed":
                self.do(self.session.keepalive_failed(self.now, key, "no", refused=bool(self.keys % 2)))
            case _:
                self.do(self.session.keepalive_ok(self.now, key, self.new_key()))

    @rule(age=st.integers(0, 3))
    def expire(self, age: int) -> None:
        key = f"K{self.keys - age}"
        self.doom(key)
        self.do(self.session.key_expired(self.now, key))

    @rule()
    def say_stale(self) -> None:
        if self.session.is_live:
            self.doomed |= set(self.session.sockets)
        self.do(self.session.stale(self.now, "stale"))

    @precondition(lambda self: self.connecting)
    @rule(works=st.booleans(), banned=st.booleans())
    def connect(self, works: bool, banned: bool) -> None:
        socket = self.connecting.pop()
        if works:
            self.open[socket] = False
            self.do(self.session.connected(self.now, socket))
        else:
            self.do(self.session.connect_failed(self.now, socket, "no", is_banned=banned))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), what=st.sampled_from(["pong", "heard", "hold", "release", "close"]))
    def use(self, data: st.DataObject, what: str) -> None:
        socket = data.draw(st.sampled_from(sorted(self.open)))
        match what:
            case "pong":
                self.open[socket] = True
                self.do(self.session.pong(self.now, socket))
            case "heard":
                self.open[socket] = True
                self.do(self.session.heard(self.now, socket))
            case "hold":
                self.session.hold(self.now, socket)
            case "release":
                self.session.release(self.now, socket)
            case _:
                self.forget(socket)
                self.do(self.session.closed(self.now, socket, 1006, ""))

    @rule(socket=st.integers(0, 10))
    def say_something_late(self, socket: int) -> None:
        if socket not in self.session.sockets:
            self.do(self.session.closed(self.now, socket, 1000, ""))
            self.do(self.session.pong(self.now, socket))

    @rule()
    def fetch(self) -> None:
        self.do(self.session.backfilled(self.now))

    @invariant()
    def there_are_at_most_two_sockets(self) -> None:
        assert len(self.session.sockets) <= 2
        assert len(self.connecting) + len(self.open) <= 2
        assert set(self.session.sockets) == self.connecting | set(self.open)

    @invariant()
    def something_is_open_scheduled_or_under_way(self) -> None:
        is_waiting = self.is_asked or self.extending or self.connecting
        assert is_waiting or self.session.next_due(self.now) is not None

    @invariant()
    def nothing_doomed_or_unproved_is_trusted(self) -> None:
        for number in self.covering():
            assert self.open[number], "trusted without a sign of life"
            assert number not in self.doomed, "trusted on a dead key"

    @invariant()
    def live_means_covered(self) -> None:
        assert self.session.is_live == self.is_covered

    def teardown(self) -> None:
        """Once everything works again, the stream is whole within an hour, and the alarm is over."""
        if not hasattr(self, "session"):
            return
        for _ in range(100_000):
            self.answer_well()
            if self.session.is_whole and not self.is_asked and not self.extending and not self.is_alarmed:
                return
            due = self.session.next_due(self.now)
            assert due is not None
            assert due < self.now + KEY_SECONDS
            self.now = max(self.now, due)
            self.do(self.session.tick(self.now))
        raise AssertionError("it did not heal")

    def answer_well(self) -> None:
        """Answer everything that was asked for."""
        if self.is_asked:
            self.give_key(same=False)
        while self.extending:
            key = self.extending.pop(0)
            self.do(self.session.keepalive_ok(self.now, key, key))
        for socket in sorted(self.connecting):
            self.connecting.discard(socket)
            self.open[socket] = False
            self.do(self.session.connected(self.now, socket))
        for socket in sorted(self.open):
            if socket in self.open:
                self.open[socket] = True
                self.session.release(self.now, socket)
                self.do(self.session.pong(self.now, socket))
        self.do(self.session.backfilled(self.now))


TestWhateverHappens = Venue.TestCase
TestWhateverHappens.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)

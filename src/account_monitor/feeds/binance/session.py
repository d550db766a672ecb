"""Session: what is to be done so that everything the exchange says about an account is heard, and what was missed?

A machine without I/O, clock or chance of its own: inputs with the time (monotonic seconds) go in, actions come out. It
is two small machines, the listen key and each socket; the tables below hold every transition of both.

A socket is believed once it answered (a bogus key connects too), and a key once the exchange named it: whenever a
socket is lost, the key is asked for again, which extends the one that is there. The key is never deleted: it is the
account's, and others hear through it.

Whatever may have been missed is one `gap`, which becomes one Backfill as soon as a new socket is live. A planned
rotation overlaps: the old socket is heard until the new one has proved itself, so there is no gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from random import Random
from typing import Final, NamedTuple, TypeAlias

from account_monitor.feeds.binance.pace import STABLE_SECONDS, Pace

STREAM_STALE: Final = "STREAM_STALE"
"""The alarm of this session: the stream is not heard, or what is heard cannot be all."""

KEY_SECONDS: Final = 3600.0
"""A listen key lives for an hour after each extension."""

EXTEND_AFTER_SECONDS: Final = (1200.0, 1800.0)
"""Between these, so that accounts do not ask together, and two failures still leave half an hour."""

ROTATE_AFTER_SECONDS: Final = (22 * 3600.0, 23 * 3600.0)
"""The exchange closes a connection after 24 hours: a new one is made before, at a time of our choosing."""

OVERLAP_SECONDS: Final = 10.0
"""How long both sockets are heard: longer than a message may be later on one than on the other."""

PROOF_SECONDS: Final = 10.0
"""How long a new socket may take to its first sign of life."""

ALARM_AFTER_SECONDS: Final = 5.0
"""A reconnect that takes less is an everyday event."""

_EXTEND_AGAIN_SECONDS = (30.0, 60.0)


class StreamSettings(NamedTuple):
    """`accounts[].websocket`: the first backoff, how often an idle socket is pinged, and how long it may be silent."""

    reconnect_interval_seconds: float = 5.0
    ping_interval_seconds: float = 30.0
    timeout_seconds: float = 60.0


# -- actions -----------------------------------------------------------------------------------------------------------


class ObtainKey(NamedTuple):
    """POST the listen key; the answer is `key_obtained` or `key_failed`."""


class KeepKeyAlive(NamedTuple):
    """PUT the listen key; the answer is `keepalive_ok`, `keepalive_refused` or `keepalive_failed`."""

    key: str

    def __repr__(self) -> str:
        return "KeepKeyAlive(***)"


class Connect(NamedTuple):
    """Open a socket on this key; the answer is `connected` or `connect_failed`."""

    socket: int
    key: str

    def __repr__(self) -> str:
        return f"Connect(socket={self.socket}, key=***)"


class Ping(NamedTuple):
    """Send a ping; the answer is `pong`, or none."""

    socket: int


class Close(NamedTuple):
    """Close the socket and take nothing from it any more; no answer is wanted."""

    socket: int
    reason: str


class Backfill(NamedTuple):
    """Fetch everything since the last known id: it may not have been heard. The answer is `backfilled`."""

    reason: str


class Alarm(NamedTuple):
    """Tell people; one alarm until its Clear."""

    kind: str
    text: str


class Clear(NamedTuple):
    """The alarm is over: the stream is live and what was missed was fetched."""

    kind: str


Action: TypeAlias = ObtainKey | KeepKeyAlive | Connect | Ping | Close | Backfill | Alarm | Clear


# -- the listen key ----------------------------------------------------------------------------------------------------


class KeyState(Enum):
    """What is known of the listen key."""

    ABSENT = "absent"  # none that works; asked for when that is due
    REQUESTED = "requested"  # none that works; asked for
    VALID = "valid"
    EXTENDING = "extending"  # valid, and its keep-alive is under way
    CONFIRMING = "confirming"  # valid as far as we know, and asked for again, because a socket was lost


class KeyInput(Enum):
    """What happens to the listen key."""

    DUE = "due"
    OBTAINED = "obtained"
    OUTDATED = "outdated"  # obtained, but it is the one that expired while we asked
    FAILED = "failed"
    EXTENDED = "extended"
    REPLACED = "replaced"  # extended, but it was another key than ours
    NOT_EXTENDED = "not extended"
    EXPIRED = "expired"  # the exchange said so, does not know the key, or the hour is over
    STALE = "stale"
    SOCKET_LOST = "socket lost"


class KeyEffect(Enum):
    """What is done when it happens."""

    NOTHING = "nothing"
    ASK = "ask"
    ASK_LATER = "ask later"
    ADOPT = "adopt"
    EXTEND = "extend"
    EXTEND_LATER = "extend later"
    NOTE_EXTENDED = "note extended"
    DROP = "drop"  # and trust no socket that was opened on it


_KEY_TRANSITIONS: Final = {
    KeyState.ABSENT: {
        KeyInput.DUE: (KeyState.REQUESTED, KeyEffect.ASK),
    },
    KeyState.REQUESTED: {
        KeyInput.OBTAINED: (KeyState.VALID, KeyEffect.ADOPT),
        KeyInput.OUTDATED: (KeyState.REQUESTED, KeyEffect.ASK),
        KeyInput.FAILED: (KeyState.ABSENT, KeyEffect.ASK_LATER),
    },
    KeyState.VALID: {
        KeyInput.DUE: (KeyState.EXTENDING, KeyEffect.EXTEND),
        KeyInput.EXPIRED: (KeyState.ABSENT, KeyEffect.DROP),
        KeyInput.STALE: (KeyState.ABSENT, KeyEffect.DROP),
        KeyInput.SOCKET_LOST: (KeyState.CONFIRMING, KeyEffect.ASK),
    },
    KeyState.EXTENDING: {  # a socket that is lost meanwhile changes nothing: the answer tells whether the key works
        KeyInput.EXTENDED: (KeyState.VALID, KeyEffect.NOTE_EXTENDED),
        KeyInput.REPLACED: (KeyState.VALID, KeyEffect.ADOPT),
        KeyInput.NOT_EXTENDED: (KeyState.VALID, KeyEffect.EXTEND_LATER),
        KeyInput.EXPIRED: (KeyState.ABSENT, KeyEffect.DROP),
        KeyInput.STALE: (KeyState.ABSENT, KeyEffect.DROP),
    },
    KeyState.CONFIRMING: {
        KeyInput.OBTAINED: (KeyState.VALID, KeyEffect.ADOPT),
        KeyInput.FAILED: (KeyState.VALID, KeyEffect.EXTEND_LATER),
        KeyInput.EXPIRED: (KeyState.REQUESTED, KeyEffect.DROP),
        KeyInput.STALE: (KeyState.REQUESTED, KeyEffect.DROP),
    },
}

KEY_TABLE: Final[Mapping[KeyState, Mapping[KeyInput, tuple[KeyState, KeyEffect]]]] = {
    state: {input_: _KEY_TRANSITIONS[state].get(input_, (state, KeyEffect.NOTHING)) for input_ in KeyInput}
    for state in KeyState
}
"""Every state and input; what is not named above changes nothing, such as answers that come late."""

_USABLE = (KeyState.VALID, KeyState.EXTENDING, KeyState.CONFIRMING)


# -- sockets -----------------------------------------------------------------------------------------------------------


class SocketState(Enum):
    """What is known of a socket."""

    CONNECTING = "connecting"
    PROVING = "proving"  # connected, which says nothing yet
    LIVE = "live"  # what the exchange says is heard here
    RETIRING = "retiring"  # live, beside its successor
    DOUBTED = "doubted"  # open, but its key or the stream is not trusted any more: kept until there is a better one
    CLOSED = "closed"


class SocketInput(Enum):
    """What happens to a socket."""

    CONNECTED = "connected"
    FAILED = "failed"
    ENDED = "ended"  # by the exchange or the network
    SPOKE = "spoke"  # a pong or a message came
    OVERDUE = "overdue"  # no sign of life for too long
    OUTDONE = "outdone"  # silent, while its predecessor hears messages
    SUCCEEDED = "succeeded"  # a newer one is live
    BEREAVED = "bereaved"  # its successor is gone
    OVERLAPPED = "overlapped"  # both were heard long enough
    DISCREDITED = "discredited"  # its key, or the stream


class SocketEffect(Enum):
    """What is done when it happens."""

    NOTHING = "nothing"
    PROVE = "prove"
    GO_LIVE = "go live"
    RETIRE = "retire"
    LOSE = "lose"  # it is gone, and that counts as a failure
    CUT = "cut"  # close it, and that counts as a failure
    END = "end"  # close it, it is not needed


_SOCKET_TRANSITIONS: Final = {
    SocketState.CONNECTING: {
        SocketInput.CONNECTED: (SocketState.PROVING, SocketEffect.PROVE),
        SocketInput.FAILED: (SocketState.CLOSED, SocketEffect.LOSE),
        SocketInput.ENDED: (SocketState.CLOSED, SocketEffect.LOSE),
        SocketInput.DISCREDITED: (SocketState.CLOSED, SocketEffect.END),
    },
    SocketState.PROVING: {
        SocketInput.SPOKE: (SocketState.LIVE, SocketEffect.GO_LIVE),
        SocketInput.ENDED: (SocketState.CLOSED, SocketEffect.LOSE),
        SocketInput.OVERDUE: (SocketState.CLOSED, SocketEffect.CUT),
        SocketInput.DISCREDITED: (SocketState.CLOSED, SocketEffect.END),
    },
    SocketState.LIVE: {
        SocketInput.ENDED: (SocketState.CLOSED, SocketEffect.LOSE),
        SocketInput.OVERDUE: (SocketState.CLOSED, SocketEffect.CUT),
        SocketInput.OUTDONE: (SocketState.CLOSED, SocketEffect.CUT),
        SocketInput.SUCCEEDED: (SocketState.RETIRING, SocketEffect.RETIRE),
        SocketInput.DISCREDITED: (SocketState.DOUBTED, SocketEffect.NOTHING),
    },
    SocketState.RETIRING: {
        SocketInput.ENDED: (SocketState.CLOSED, SocketEffect.NOTHING),
        SocketInput.OVERDUE: (SocketState.CLOSED, SocketEffect.END),
        SocketInput.BEREAVED: (SocketState.LIVE, SocketEffect.NOTHING),
        SocketInput.OVERLAPPED: (SocketState.CLOSED, SocketEffect.END),
        SocketInput.DISCREDITED: (SocketState.CLOSED, SocketEffect.END),
    },
    SocketState.DOUBTED: {
        SocketInput.ENDED: (SocketState.CLOSED, SocketEffect.NOTHING),
        SocketInput.OVERDUE: (SocketState.CLOSED, SocketEffect.END),
        SocketInput.SUCCEEDED: (SocketState.CLOSED, SocketEffect.END),
    },
    SocketState.CLOSED: {},
}

SOCKET_TABLE: Final[Mapping[SocketState, Mapping[SocketInput, tuple[SocketState, SocketEffect]]]] = {
    state: {input_: _SOCKET_TRANSITIONS[state].get(input_, (state, SocketEffect.NOTHING)) for input_ in SocketInput}
    for state in SocketState
}
"""Every state and input; what is not named above changes nothing."""

_OPENING = (SocketState.CONNECTING, SocketState.PROVING)


class _Socket:
    """One socket. Times are monotonic seconds."""

    def __init__(self, number: int, key: str) -> None:
        self.number = number
        self.key = key
        self.state = SocketState.CONNECTING
        self.spoke_at = 0.0
        self.pinged_at = 0.0
        self.rotate_at = 0.0
        self.retire_at = 0.0
        self.has_heard = False
        self.outdone_at: float | None = None
        self.held_at: float | None = None


class UserStreamSession:
    """The user stream of one account. Every input returns what has to be done now, in order.

    `tick` is to be called when `next_due` says so. Inputs about sockets that are closed, and answers about keys that
    are not ours any more, are ignored.
    """

    def __init__(self, now: float, settings: StreamSettings, chance: Random) -> None:
        self._settings = settings
        self._chance = chance
        self._now = now
        self._actions: list[Action] = []
        self._pace = Pace(settings.reconnect_interval_seconds, chance)  # one for all kinds of failure
        self._stable_at: float | None = None
        # The listen key.
        self._key_state = KeyState.ABSENT
        self._key = ""
        self._key_due = now  # to ask for it, or to extend it
        self._key_asked_at = now
        self._key_valid_until = now
        self._outdated_key = ""
        self._refusal = ""
        # Sockets.
        self._sockets: dict[int, _Socket] = {}
        self._last_number = 0
        self._connect_at = now
        # What the account's owner has to know.
        self._gap = "start"
        self._is_backfilling = False
        self._down_since: float | None = now
        self._down_reason = "not connected yet"
        self._is_alarmed = False
        self._unheard_since: float | None = None
        self._last_gap: tuple[float, str] | None = None

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether what the exchange says is heard now."""
        return self._down_since is None

    @property
    def is_whole(self) -> bool:
        """Whether it is heard, and what was missed before was fetched."""
        return self.is_live and not self._is_backfilling

    def unheard_seconds(self, now: float) -> float | None:
        """Return how long it has not been heard that was heard before; None while it is, and before it ever was.

        What was silent until it was given up counts from its last sign of life.
        """
        return None if self._unheard_since is None else now - self._unheard_since

    @property
    def down_reason(self) -> str:
        """Why it is not heard, or was not the last time."""
        return self._down_reason

    @property
    def last_gap(self) -> tuple[float, str] | None:
        """How many seconds it was not heard before it was heard again, and why; None at the start."""
        return self._last_gap

    @property
    def key_state(self) -> KeyState:
        """What is known of the listen key."""
        return self._key_state

    @property
    def sockets(self) -> dict[int, SocketState]:
        """The sockets that are not closed, oldest first."""
        return {number: socket.state for number, socket in self._sockets.items()}

    def next_due(self, now: float) -> float | None:
        """Return when `tick` has something to do, not before `now`; None while everything waits for answers."""
        due = min(self._dues(), default=None)
        return None if due is None else max(due, now)

    def _dues(self) -> Iterator[float]:
        if self._key_state in (KeyState.ABSENT, KeyState.VALID):
            yield self._key_due
        if self._key_state in _USABLE:
            yield self._key_valid_until
        for socket in self._sockets.values():
            yield from self._dues_of(socket)
        opening_due = self._opening_due()
        if opening_due is not None:
            yield opening_due
        if self._stable_at is not None:
            yield self._stable_at
        if self._down_since is not None and not self._is_alarmed:
            yield self._down_since + ALARM_AFTER_SECONDS

    def _dues_of(self, socket: _Socket) -> Iterator[float]:
        if socket.state is SocketState.CONNECTING:
            return
        yield socket.pinged_at + self._ping_seconds
        if socket.held_at is None:
            yield self._overdue_at(socket)
            if socket.outdone_at is not None:
                yield socket.outdone_at
        if socket.state is SocketState.RETIRING and not self._is_successor_doubtful():
            yield socket.retire_at

    # -- inputs: the listen key ----------------------------------------------------------------------------------------

    def key_obtained(self, now: float, key: str) -> list[Action]:
        """POST gave this key: a new one, or the active one, extended."""
        self._now = now
        is_outdated = bool(self._outdated_key) and key == self._outdated_key
        self._step_key(KeyInput.OUTDATED if is_outdated else KeyInput.OBTAINED, key=key)
        return self._settled()

    def key_failed(self, now: float, reason: str, *, refused: bool = False) -> list[Action]:
        """POST gave no key. `refused`: the API key is not accepted."""
        self._now = now
        self._note_refusal(reason, refused=refused)
        self._step_key(KeyInput.FAILED, reason)
        return self._settled()

    def keepalive_ok(self, now: float, key: str, extended: str | None = None) -> list[Action]:
        """PUT for `key` succeeded. `extended` is the key that the exchange says it extended."""
        self._now = now
        if key == self._key:
            is_another = extended is not None and extended != key
            self._step_key(KeyInput.REPLACED if is_another else KeyInput.EXTENDED, key=extended or key)
        return self._settled()

    def keepalive_refused(self, now: float, key: str) -> list[Action]:
        """PUT for `key` was answered with −1125: the exchange does not know it."""
        self._now = now
        if key == self._key:
            self._step_key(KeyInput.EXPIRED, "the exchange does not know the listen key any more")
        return self._settled()

    def keepalive_failed(self, now: float, key: str, reason: str, *, refused: bool = False) -> list[Action]:
        """PUT for `key` had no usable answer. `refused`: the API key is not accepted."""
        self._now = now
        if key == self._key:
            self._note_refusal(reason, refused=refused)
            self._step_key(KeyInput.NOT_EXTENDED, reason)
        return self._settled()

    def key_expired(self, now: float, key: str) -> list[Action]:
        """The stream said that this key has expired. One that is not ours any more was replaced before."""
        self._now = now
        if key == self._key:
            self._step_key(KeyInput.EXPIRED, "the listen key has expired")
        return self._settled()

    # -- inputs: sockets -----------------------------------------------------------------------------------------------

    def connected(self, now: float, socket: int) -> list[Action]:
        """The handshake succeeded, which it does with a bogus key too."""
        return self._socket_input(now, socket, SocketInput.CONNECTED)

    def connect_failed(self, now: float, socket: int, reason: str, *, is_banned: bool = False) -> list[Action]:
        """There was no connection. `is_banned`: the exchange does not want to hear from us for a while."""
        self._now = now
        failed = self._sockets.get(socket)
        if failed is not None:
            self._step_socket(failed, SocketInput.FAILED, reason)
            if is_banned:
                self._connect_at = now + self._pace.slow_pause()
                self._alarm(reason)
        return self._settled()

    def closed(self, now: float, socket: int, code: int, reason: str) -> list[Action]:
        """The connection ended."""
        said = f"the connection ended with code {code}" + (f" ({reason})" if reason else "")
        return self._socket_input(now, socket, SocketInput.ENDED, said)

    def pong(self, now: float, socket: int) -> list[Action]:
        """A pong came."""
        return self._spoke(now, socket)

    def heard(self, now: float, socket: int) -> list[Action]:
        """A message came."""
        heard = self._sockets.get(socket)
        if heard is None:
            return []
        heard.has_heard = True
        heard.outdone_at = None
        if heard.state is SocketState.LIVE:  # the way of every message
            heard.spoke_at = now
            return []
        if heard.state is SocketState.RETIRING:
            self._doubt_silent_successor(now)
        return self._spoke(now, socket)

    def hold(self, now: float, socket: int) -> None:
        """Nothing is read from the socket from now on, because nobody has room for it: its silence means nothing."""
        held = self._sockets.get(socket)
        if held is not None and held.held_at is None:
            held.held_at = now

    def release(self, now: float, socket: int) -> None:
        """The socket is read again; the time since `hold` did not count."""
        held = self._sockets.get(socket)
        if held is not None and held.held_at is not None:
            held_seconds = now - held.held_at
            held.held_at = None
            held.spoke_at += held_seconds
            if held.outdone_at is not None:
                held.outdone_at += held_seconds

    # -- inputs: everything else ---------------------------------------------------------------------------------------

    def stale(self, now: float, reason: str) -> list[Action]:
        """Somebody knows of a change that the stream should have told, and did not."""
        self._now = now
        if self._first(SocketState.LIVE) is not None:  # else a better one is under way
            self._alarm(reason)
            self._step_key(KeyInput.STALE, reason)
        return self._settled()

    def backfilled(self, now: float) -> list[Action]:
        """Everything up to the last Backfill, or later, was fetched."""
        self._now = now
        self._is_backfilling = False
        return self._settled()

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        self._now = now
        if self._stable_at is not None and now >= self._stable_at:
            self._stable_at = None
            self._pace.reset()
        self._tick_key()
        for socket in list(self._sockets.values()):
            if socket.number in self._sockets:  # what happens to one may end another
                self._tick_socket(socket)
        return self._settled()

    # -- the listen key ------------------------------------------------------------------------------------------------

    def _tick_key(self) -> None:
        if self._key_state in _USABLE and self._now >= self._key_valid_until:
            self._step_key(KeyInput.EXPIRED, "the listen key could not be extended within its hour")
        if self._now >= self._key_due:
            self._step_key(KeyInput.DUE)

    def _step_key(self, input_: KeyInput, reason: str = "", *, key: str = "") -> None:
        self._key_state, effect = KEY_TABLE[self._key_state][input_]
        match effect:
            case KeyEffect.NOTHING:
                pass
            case KeyEffect.ASK:
                self._key_asked_at = self._now
                self._outdated_key = ""
                self._actions.append(ObtainKey())
            case KeyEffect.ASK_LATER:
                self._key_due = self._now + max(self._pace.pause(), self._pace.slow_pause() if self._refusal else 0)
                self._note_down(reason)
            case KeyEffect.ADOPT:
                self._adopt(key)
            case KeyEffect.EXTEND:
                self._key_asked_at = self._now
                self._actions.append(KeepKeyAlive(self._key))
            case KeyEffect.EXTEND_LATER:
                seconds = self._pace.slow_pause() if self._refusal else self._chance.uniform(*_EXTEND_AGAIN_SECONDS)
                self._key_due = self._now + seconds
            case KeyEffect.NOTE_EXTENDED:
                self._note_valid()
            case KeyEffect.DROP:
                self._drop_key(reason, is_dead=input_ is KeyInput.EXPIRED)

    def _adopt(self, key: str) -> None:
        """Take this key, and trust no socket that was opened on another one."""
        self._key = key
        self._note_valid()
        others = [s for s in self._sockets.values() if s.key != key and s.state is not SocketState.DOUBTED]
        if others:
            self._discredit(others, "the exchange has replaced the listen key")

    def _note_valid(self) -> None:
        self._refusal = ""
        self._key_valid_until = self._key_asked_at + KEY_SECONDS
        self._key_due = self._now + self._chance.uniform(*EXTEND_AFTER_SECONDS)

    def _drop_key(self, reason: str, *, is_dead: bool) -> None:
        self._discredit(list(self._sockets.values()), reason)
        # An answer that is still to come may name the key that has just died.
        self._outdated_key = self._key if is_dead and self._key_state is KeyState.REQUESTED else ""
        self._key = ""
        self._key_due = self._connect_at = self._now + self._pace.pause()
        if self._key_state is KeyState.ABSENT and self._now >= self._key_due:
            self._step_key(KeyInput.DUE)

    def _note_refusal(self, reason: str, *, refused: bool) -> None:
        if refused:
            self._refusal = reason
            self._alarm(reason)

    # -- sockets -------------------------------------------------------------------------------------------------------

    def _socket_input(self, now: float, number: int, input_: SocketInput, reason: str = "") -> list[Action]:
        self._now = now
        socket = self._sockets.get(number)
        if socket is not None:
            self._step_socket(socket, input_, reason)
        return self._settled()

    def _spoke(self, now: float, number: int) -> list[Action]:
        socket = self._sockets.get(number)
        if socket is not None:
            socket.spoke_at = now
        return self._socket_input(now, number, SocketInput.SPOKE)

    def _tick_socket(self, socket: _Socket) -> None:
        if socket.state is SocketState.CONNECTING:
            return
        if socket.held_at is None:
            self._judge_silence(socket)
        if self._is_overlap_over(socket):
            self._step_socket(socket, SocketInput.OVERLAPPED, "its successor is live")
        if socket.number in self._sockets and self._now >= socket.pinged_at + self._ping_seconds:
            self._ping(socket)

    def _judge_silence(self, socket: _Socket) -> None:
        if socket.outdone_at is not None and self._now >= socket.outdone_at:
            self._step_socket(socket, SocketInput.OUTDONE, "silent, while the connection before it hears messages")
        elif self._now >= self._overdue_at(socket):
            reason = f"no sign of life for {self._now - socket.spoke_at:.0f} s"
            was_live = self.is_live
            self._step_socket(socket, SocketInput.OVERDUE, reason)
            if was_live and not self.is_live:
                self._alarm(reason)

    def _is_overlap_over(self, socket: _Socket) -> bool:
        is_retiring = socket.state is SocketState.RETIRING and not self._is_successor_doubtful()
        return is_retiring and self._now >= socket.retire_at

    def _step_socket(self, socket: _Socket, input_: SocketInput, reason: str = "") -> None:
        before = socket.state
        socket.state, effect = SOCKET_TABLE[before][input_]
        if socket.state is SocketState.CLOSED:
            self._sockets.pop(socket.number, None)
        match effect:
            case SocketEffect.NOTHING:
                pass
            case SocketEffect.PROVE:
                socket.spoke_at = self._now
                socket.rotate_at = self._now + self._chance.uniform(*ROTATE_AFTER_SECONDS)
                self._ping(socket)
            case SocketEffect.GO_LIVE:
                self._go_live(socket)
            case SocketEffect.RETIRE:
                socket.retire_at = self._now + OVERLAP_SECONDS
            case SocketEffect.LOSE:
                self._lose(before, reason)
            case SocketEffect.CUT:
                self._actions.append(Close(socket.number, reason))
                self._lose(before, reason, heard_at=socket.spoke_at)
            case SocketEffect.END:
                self._actions.append(Close(socket.number, reason))

    def _go_live(self, socket: _Socket) -> None:
        for other in list(self._sockets.values()):
            if other is not socket:
                self._step_socket(other, SocketInput.SUCCEEDED, "its successor is live")
        self._down_since = None
        self._stable_at = self._now + STABLE_SECONDS
        if self._unheard_since is not None:
            self._last_gap = self._now - self._unheard_since, self._gap
            self._unheard_since = None
        if self._gap:
            self._actions.append(Backfill(self._gap))
            self._gap = ""
            self._is_backfilling = True

    def _lose(self, before: SocketState, reason: str, *, heard_at: float | None = None) -> None:
        """Note that a socket is gone that was needed: go on with its predecessor, or connect again."""
        self._connect_at = self._now + self._pace.pause()
        if before is SocketState.LIVE:
            self._stable_at = None
            predecessor = self._first(SocketState.RETIRING)
            if predecessor is not None:
                self._step_socket(predecessor, SocketInput.BEREAVED)
            else:
                self._note_gap(reason, heard_at=heard_at)
        self._note_down(reason)
        self._step_key(KeyInput.SOCKET_LOST)

    def _discredit(self, sockets: list[_Socket], reason: str) -> None:
        """Trust these sockets no more: what they should have told may be missing."""
        for socket in sockets:
            self._step_socket(socket, SocketInput.DISCREDITED, reason)
        if self._first(SocketState.LIVE) is None:
            self._stable_at = None
            self._note_gap(reason)

    def _ping(self, socket: _Socket) -> None:
        socket.pinged_at = self._now
        self._actions.append(Ping(socket.number))

    def _doubt_silent_successor(self, now: float) -> None:
        """A message came on the old socket: soon it has to come on the new one too, if that never heard any."""
        successor = self._first(SocketState.LIVE)
        if successor is not None and not successor.has_heard and successor.outdone_at is None:
            successor.outdone_at = now + OVERLAP_SECONDS

    def _is_successor_doubtful(self) -> bool:
        successor = self._first(SocketState.LIVE)
        return successor is not None and successor.outdone_at is not None

    def _first(self, state: SocketState) -> _Socket | None:
        return next((socket for socket in self._sockets.values() if socket.state is state), None)

    def _opening_due(self) -> float | None:
        """Return when another socket has to be opened, None when none is needed or possible."""
        states = [socket.state for socket in self._sockets.values()]
        if self._key_state not in _USABLE or SocketState.RETIRING in states or any(s in _OPENING for s in states):
            return None
        live = self._first(SocketState.LIVE)
        return self._connect_at if live is None else max(self._connect_at, live.rotate_at)

    # -- what follows from every input ---------------------------------------------------------------------------------

    def _settled(self) -> list[Action]:
        """Open a socket if one is needed, say how it goes, and hand out what has to be done."""
        opening_due = self._opening_due()
        if opening_due is not None and self._now >= opening_due:
            self._last_number += 1
            self._sockets[self._last_number] = _Socket(self._last_number, self._key)
            self._actions.append(Connect(self._last_number, self._key))
        if self._down_since is not None and self._now >= self._down_since + ALARM_AFTER_SECONDS:
            self._alarm(self._down_reason)
        if self._is_alarmed and self.is_whole and not self._refusal:
            self._is_alarmed = False
            self._actions.append(Clear(STREAM_STALE))
        actions, self._actions = self._actions, []
        return actions

    def _alarm(self, text: str) -> None:
        if not self._is_alarmed:
            self._is_alarmed = True
            self._actions.append(Alarm(STREAM_STALE, text))

    def _note_gap(self, reason: str, *, heard_at: float | None = None) -> None:
        """Note that nothing is heard any more. `heard_at`: the last sign of life, where that was a while ago."""
        self._gap = self._gap or reason
        if self._down_since is None:
            self._down_since = self._now
            self._unheard_since = self._now if heard_at is None else heard_at
        self._note_down(reason)

    def _note_down(self, reason: str) -> None:
        if self._down_since is not None:
            self._down_reason = reason

    # -- pace ----------------------------------------------------------------------------------------------------------

    @property
    def _ping_seconds(self) -> float:
        """Often enough that a pong can come before silence counts."""
        return min(self._settings.ping_interval_seconds, self._settings.timeout_seconds / 2)

    def _overdue_at(self, socket: _Socket) -> float:
        timeout_seconds = self._settings.timeout_seconds
        if socket.state is SocketState.PROVING:
            timeout_seconds = min(timeout_seconds, PROOF_SECONDS)
        return socket.spoke_at + timeout_seconds

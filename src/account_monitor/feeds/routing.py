"""Routing: whose is a message? Its subject says so, else its body; what is nobody's goes to the unrouted inbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.connection import Received
from account_monitor.feeds.wire import fill_from_json
from account_monitor.ledger.events import Fill
from account_monitor.monitor.inbox import Inboxes
from account_monitor.monitor.ports import MALFORMED_EVENT, UNKNOWN_ACCOUNT, UNROUTED, Clock, Delivery
from account_monitor.monitor.reports import time_text

_RETRY_HEADER = b"account-monitor-retry:"
_SUBJECTS_REMEMBERED = 4096

AHEAD_MS = 86_400_000
"""How far ahead of now a fill may be dated: a publisher's wrong time zone is in it, a wrong year is not."""


class Place(NamedTuple):
    """Where a message was heard: its source and sequence, and how to acknowledge it, where the source wants that.

    `stored_ms`: when the source took it, by its own clock; 0 where it says nothing of that.
    """

    source: str
    sequence: int = 0
    acknowledge: Callable[[], None] | None = None
    stored_ms: int = 0


class Router:
    """Turns the bytes on the fills subjects into deliveries, each with the account that gets it."""

    def __init__(self, inboxes: Inboxes, fills_subject: str, *, clock: Clock) -> None:
        self._inboxes = inboxes
        self._clock = clock
        self._prefix = f"{fills_subject}."
        self._subjects: dict[bytes, tuple[str, str | None]] = {}
        self.received: Counter[str] = Counter()
        """Messages by what they turned out to be."""

    def named_account(self, subject: bytes) -> str | None:
        """Return the account that the subject names, None if it names none."""
        return self._subject(subject)[1]

    def route(self, message: Received, place: Place) -> tuple[str, Delivery]:
        """Return the account whose inbox gets the message, and the delivery; malformed ones with their reason."""
        subject, named = self._subject(message.subject)
        source, sequence, acknowledge, stored_ms = place
        account, event, rejection, reason = self._judge(named, message.payload, stored_ms)
        self.received["fill" if rejection is None else rejection] += 1
        retry_of = None
        if message.headers and (letter := _retried_letter(message.headers)) is not None:
            journal, number = letter
            if journal in ("", account):
                retry_of = number
            elif rejection is None:  # parked under another account than it is booked
                self.put(journal, Delivery(source, subject, b"", None, retry_of=number))
        delivery = Delivery(
            source, subject, message.payload, event, sequence, rejection, reason, retry_of, acknowledge
        )  # fmt: skip
        return account, delivery

    def put(self, account: str, delivery: Delivery) -> None:
        """Put a delivery into the inbox of the account."""
        inbox = self._inboxes.get(account)
        (self._inboxes.unrouted if inbox is None else inbox).put(delivery)

    async def wait_for_room(self) -> None:
        """Return once no inbox is full."""
        for _, inbox in self._inboxes.all():
            await inbox.wait_for_room()

    @property
    def accounts(self) -> tuple[str, ...]:
        """All accounts, the unrouted one under its reserved name."""
        return tuple(account for account, _ in self._inboxes.all())

    def is_configured(self, account: str) -> bool:
        """Whether the account has an inbox."""
        return self._inboxes.get(account) is not None

    def _judge(self, named: str | None, payload: bytes, stored_ms: int) -> tuple[str, Fill | None, str | None, str]:
        try:
            stated, fill = fill_from_json(payload)
            account = self._account(named, stated)
        except MalformedEvent as error:
            return self._owner_of_malformed(named), None, MALFORMED_EVENT, error.reason
        if self._inboxes.get(account) is None:
            return UNROUTED, None, UNKNOWN_ACCOUNT, f'account was "{account:.60}", which is not configured'
        if fill.at_ms - AHEAD_MS > stored_ms and (latest_ms := max(stored_ms, self._clock()) + AHEAD_MS) < fill.at_ms:
            return account, None, MALFORMED_EVENT, _reason_of_future(fill.at_ms, latest_ms)
        return account, fill, None, ""

    def _account(self, named: str | None, stated: str | None) -> str:
        if named is not None and stated is not None and named != stated:
            raise MalformedEvent(f'account was "{stated}", but the subject names "{named:.60}"')
        account = named or stated or self._inboxes.only_account
        if account is None:
            raise MalformedEvent("account is missing, expected one: more than one account is configured")
        return account

    def _owner_of_malformed(self, named: str | None) -> str:
        account = self._inboxes.only_account if named is None else named
        return UNROUTED if account is None or self._inboxes.get(account) is None else account

    def _subject(self, raw: bytes) -> tuple[str, str | None]:
        known = self._subjects.get(raw)
        if known is None:
            subject = raw.decode(errors="backslashreplace")
            if not subject.isprintable():
                subject = subject.encode("unicode_escape").decode()
            named = subject.removeprefix(self._prefix) if subject.startswith(self._prefix) else None
            if len(self._subjects) >= _SUBJECTS_REMEMBERED:
                self._subjects.clear()
            self._subjects[raw] = known = (subject, named)
        return known


def _reason_of_future(at_ms: int, latest_ms: int) -> str:
    """Say why a fill is not booked that is dated after everything else: no clock that is known has come so far.

    The stream's clock is asked beside ours, so that no good fill is refused because this machine's is late.
    """
    allowed = f"at most {time_text(latest_ms)}, a day ahead of the clocks of the stream and of this machine"
    return f'timestamp was "{time_text(at_ms)}", expected {allowed}'


def _retried_letter(headers: bytes) -> tuple[str, int] | None:
    """Return (journal, id) of the dead letter that this is another attempt at, said as `main:17` or `17`."""
    for line in headers.split(b"\r\n"):
        if line[: len(_RETRY_HEADER)].lower() == _RETRY_HEADER:
            journal, _, number = line[len(_RETRY_HEADER) :].strip().rpartition(b":")
            is_number = number.isdigit() and len(number) < 19
            return (journal.decode(errors="replace"), int(number)) if is_number else None
    return None

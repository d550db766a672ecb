"""Dead letters: what could not be booked, kept so that someone can look at it and try again."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import apsw

from account_monitor.monitor.ports import MALFORMED_EVENT, Delivery
from account_monitor.stores.bulk import insert_rows
from account_monitor.stores.journal_file import SQL

KEPT = 10_000
"""Dead letters that are kept, the newest; with full payloads that is 40 MB."""

PAYLOAD_BYTES = 4_096
TEXT_BYTES = 1_024
"""What is kept of a payload, and of each text beside it."""


class Refusal(NamedTuple):
    """A delivery that is not booked, and why."""

    delivery: Delivery
    rejection: str
    reason: str


def refusal(delivery: Delivery) -> Refusal:
    """Return why a feed's own rejection, or its missing event, keeps a delivery from being booked."""
    if delivery.rejection is None:
        return Refusal(delivery, MALFORMED_EVENT, delivery.reason or "there was no event")
    return Refusal(delivery, delivery.rejection, delivery.reason)


def park(connection: apsw.Connection, refusals: Sequence[Refusal], now_ms: int) -> None:
    """Keep refused deliveries in order, and of all only the newest `KEPT`.

    What came before from the same place of its source is not kept twice, and a retry that fails again stays one letter.
    """
    fresh = [_row(refused, now_ms) for refused in refusals if not _is_parked_again(connection, refused, now_ms)]
    insert_rows(connection, SQL["park"], fresh)
    connection.execute(SQL["drop_oldest_dead_letters"], (KEPT,))


def mark_retried(connection: apsw.Connection, letters: Sequence[int], now_ms: int) -> None:
    """Note that the dead letters with these ids were recorded after all."""
    for letter in letters:
        connection.execute(SQL["mark_retried"], (now_ms, letter))


def _is_parked_again(connection: apsw.Connection, refused: Refusal, now_ms: int) -> bool:
    if refused.delivery.retry_of is None:
        return False
    delivery = refused.delivery
    why = (_bounded(refused.rejection), _bounded(refused.reason), now_ms)
    digest = sha256(delivery.payload).hexdigest()  # a publisher's word alone must not keep a message from being kept
    connection.execute(SQL["park_again"], (*why, delivery.retry_of, digest))
    return connection.changes() > 0


def _row(refused: Refusal, now_ms: int) -> tuple[object, ...]:
    delivery = refused.delivery
    payload = delivery.payload
    return (
        _bounded(refused.rejection),
        _bounded(refused.reason),
        delivery.source,
        _bounded(delivery.subject),
        delivery.sequence,
        payload[:PAYLOAD_BYTES],
        len(payload),
        sha256(payload).hexdigest(),
        now_ms,
    )


def _bounded(text: str) -> str:
    # Text from outside may hold halves of surrogate pairs, which are no UTF-8: parking must not fail on them.
    return text.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore")

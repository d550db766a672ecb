"""Silences in effect: the same as asking each silence, in a moment for a thousand of them."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.alerts import Alert, AlertType, Silence
from account_monitor.notifiers.silences import SilencesInEffect

TYPES: tuple[AlertType, ...] = ("STREAM_STALE", "MARGIN_CALL")
SYMBOLS = ("a", "b")

silences = st.lists(
    st.builds(
        Silence,
        from_ms=st.integers(0, 4),
        until_ms=st.integers(0, 8),
        type=st.sampled_from((None, *TYPES)),
        symbol=st.sampled_from((None, *SYMBOLS)),
        by=st.just("anna"),
        reason=st.just("maintenance"),
    ),
    max_size=5,
)


def alert(type_: AlertType, symbol: str | None) -> Alert:
    return Alert("1", type_, symbol, "WARNING", "FIRING", "", 0, 0)


@given(silences, st.sampled_from(TYPES), st.sampled_from((None, *SYMBOLS)), st.integers(0, 8))
def test_they_cover_what_one_of_them_covers(
    given_silences: list[Silence], type_: AlertType, symbol: str | None, now_ms: int
) -> None:
    asked = alert(type_, symbol)

    assert SilencesInEffect(given_silences, now_ms).cover(asked) == any(
        silence.covers(asked, now_ms) for silence in given_silences
    )


def test_a_thousand_of_them_and_of_alerts_take_milliseconds() -> None:
    many = [Silence(0, 10, "STREAM_STALE", f"Z{number}", "anna", "maintenance") for number in range(1_000)]
    asked = [alert("STREAM_STALE", f"S{number}") for number in range(1_000)]
    started = time.process_time()

    in_effect = SilencesInEffect(many, 5)
    assert not any(in_effect.cover(each) for each in asked)

    assert time.process_time() - started < 0.1  # 2 ms here; one by one 0.3 s

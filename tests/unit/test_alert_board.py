"""The alert board: each key fires once, not again too soon, and knows after a restart what it knew before."""

from __future__ import annotations

from decimal import Decimal

from account_monitor.ledger.alerts import MAX_FIRING, MAX_SILENCES, Alert, AlertBoard, Silence, keep_silence

SUPPRESSION_MS = 60_000


def board() -> AlertBoard:
    return AlertBoard("main", suppression_ms=SUPPRESSION_MS)


def fired(alerts: AlertBoard, *, now_ms: int = 0, **more: object) -> Alert:
    alert = alerts.fire("BALANCE_DRIFT", "USDT differs", now_ms=now_ms, symbol="USDT", **more)  # type: ignore[arg-type]
    assert alert is not None
    return alert


def test_what_lasts_fires_once_until_it_is_resolved() -> None:
    alerts = board()
    first = fired(alerts)

    assert alerts.fire("BALANCE_DRIFT", "still", now_ms=5, symbol="USDT") is None
    assert alerts.firing()[0].message == "still"
    resolved = alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=9)

    assert resolved is not None
    assert (resolved.id, resolved.state, resolved.resolved_ms) == (first.id, "RESOLVED", 9)
    assert alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=10) is None
    assert alerts.firing() == []


def test_what_fires_is_read_with_the_text_and_the_figures_of_now_and_is_no_new_transition() -> None:
    alerts = board()
    first = fired(alerts, value=Decimal(1), threshold=Decimal(5))

    again = alerts.fire(
        "BALANCE_DRIFT", "other", now_ms=5, symbol="USDT", value=Decimal(2), threshold=Decimal(6)
    )  # fmt: skip

    read = alerts.brought_up_to_date(first)
    assert again is None
    assert (read.message, read.value, read.threshold) == ("other", Decimal(2), Decimal(6))
    assert (read.id, read.event_id, read.at_ms) == (first.id, first.event_id, first.at_ms)


def test_what_is_over_is_read_as_it_was_journaled() -> None:
    alerts = board()
    first = fired(alerts)
    alerts.fire("BALANCE_DRIFT", "other", now_ms=5, symbol="USDT")
    over = alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=9)
    assert over is not None
    fired(alerts, now_ms=SUPPRESSION_MS)

    assert alerts.brought_up_to_date(first) == first
    assert alerts.brought_up_to_date(over) == over


def test_one_symbol_does_not_mute_another() -> None:
    alerts = board()
    one, other = fired(alerts), alerts.fire("BALANCE_DRIFT", "BNB differs", now_ms=0, symbol="BNB")

    assert other is not None
    assert one.id != other.id


def test_what_fires_again_too_soon_is_told_when_the_time_has_passed_and_it_still_holds() -> None:
    alerts = board()
    first = fired(alerts)
    alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=1_000)

    assert alerts.fire("BALANCE_DRIFT", "again", now_ms=2_000, symbol="USDT") is None
    assert alerts.look(SUPPRESSION_MS - 1) == []
    (again,) = alerts.look(SUPPRESSION_MS)
    assert (again.state, again.message, again.fired_ms) == ("FIRING", "again", SUPPRESSION_MS)
    assert again.id != first.id


def test_what_is_over_before_the_time_has_passed_is_not_told() -> None:
    alerts = board()
    fired(alerts)
    alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=1_000)
    alerts.fire("BALANCE_DRIFT", "again", now_ms=2_000, symbol="USDT")

    assert alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=3_000) is None
    assert alerts.look(10 * SUPPRESSION_MS) == []


def test_what_becomes_worse_or_understood_is_told_under_the_same_id() -> None:
    alerts = board()
    first = fired(alerts)
    worse = fired(alerts, now_ms=5, severity="CRITICAL", cause="UNEXPLAINED")
    explained = fired(alerts, now_ms=9, severity="WARNING", cause="FUNDING")

    assert {first.id} == {worse.id, explained.id}
    assert [alert.event_id for alert in (first, worse, explained)] == [f"alert:{first.id}:{n}" for n in range(3)]
    assert (explained.severity, explained.cause) == ("CRITICAL", "FUNDING")


def test_what_merely_happened_resolves_by_itself() -> None:
    alerts = board()
    fired(alerts, for_ms=600_000)

    assert alerts.look(599_999) == []
    assert [alert.state for alert in alerts.look(600_000)] == ["RESOLVED"]


def test_after_a_restart_the_board_knows_what_fires_and_what_fired_a_moment_ago() -> None:
    alerts = board()
    first = fired(alerts)
    second = alerts.fire("STREAM_STALE", "silent", now_ms=0)
    assert second is not None
    over = alerts.resolve("STREAM_STALE", now_ms=10)
    assert over is not None

    again = board()
    again.recall([first, over])
    assert again.fire("BALANCE_DRIFT", "still", now_ms=20, symbol="USDT") is None
    assert again.fire("STREAM_STALE", "silent", now_ms=20) is None
    assert [alert.type for alert in again.look(SUPPRESSION_MS)] == ["STREAM_STALE"]


def test_what_nobody_raised_again_after_a_restart_is_over_once_all_is_well() -> None:
    alerts = board()
    first = fired(alerts)
    stale = alerts.fire("STREAM_STALE", "silent", now_ms=0)
    assert stale is not None
    again = board()
    again.recall([first, stale])
    again.fire("STREAM_STALE", "silent", now_ms=20)

    assert [(alert.type, alert.state) for alert in again.settle(30)] == [("BALANCE_DRIFT", "RESOLVED")]
    assert again.settle(40) == []
    assert [alert.type for alert in again.firing()] == ["STREAM_STALE"]


def test_ids_depend_on_what_fired_when_and_nothing_else() -> None:
    assert fired(board(), now_ms=7).id == fired(board(), now_ms=7, value=Decimal(3)).id
    assert fired(board(), now_ms=7).id != fired(board(), now_ms=8).id


def test_a_flood_keeps_its_bounds_and_what_waits_is_told_when_there_is_room() -> None:
    alerts = board()
    for number in range(MAX_FIRING):
        assert alerts.fire("UNEXPECTED_FILL", "?", now_ms=0, symbol=f"S{number}") is not None
    assert alerts.fire("STREAM_STALE", "silent", now_ms=1) is None
    assert alerts.look(2) == []
    alerts.resolve("UNEXPECTED_FILL", symbol="S0", now_ms=3)

    assert [alert.type for alert in alerts.look(4)] == ["STREAM_STALE"]


def test_what_was_held_back_and_fires_by_another_way_fires_once() -> None:
    alerts = board()
    fired(alerts)
    alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=1_000)
    alerts.fire("BALANCE_DRIFT", "again", now_ms=2_000, symbol="USDT")

    fired(alerts, now_ms=SUPPRESSION_MS)
    assert alerts.look(3 * SUPPRESSION_MS) == []
    assert len(alerts.firing()) == 1


def test_what_is_over_by_itself_before_it_could_be_told_is_not_told() -> None:
    alerts = board()
    fired(alerts)
    alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=1_000)
    alerts.fire("BALANCE_DRIFT", "again", now_ms=2_000, symbol="USDT", for_ms=10_000)

    assert alerts.look(SUPPRESSION_MS) == []


def test_what_is_worse_than_before_is_told_however_soon() -> None:
    alerts = board()
    fired(alerts)
    alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=1_000)

    assert fired(alerts, now_ms=2_000, severity="CRITICAL").severity == "CRITICAL"


# -- who looks after it ------------------------------------------------------------------------------------------------


def test_who_looks_after_an_alert_is_one_more_transition_of_it() -> None:
    alerts = board()
    first = fired(alerts)
    acked = alerts.acknowledge(first.id, by="ann", now_ms=7)

    assert acked is not None
    assert (acked.id, acked.state, acked.revision, acked.acked_by, acked.acked_ms) == (first.id, "FIRING", 1, "ann", 7)
    resolved = alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=9)
    assert resolved is not None
    assert (resolved.revision, resolved.acked_by) == (2, "ann")


def test_nobody_looks_after_what_does_not_fire() -> None:
    alerts = board()
    first = fired(alerts)
    alerts.resolve("BALANCE_DRIFT", symbol="USDT", now_ms=9)

    assert alerts.acknowledge(first.id, by="ann", now_ms=10) is None
    assert alerts.acknowledge("unheard of", by="ann", now_ms=10) is None


def test_what_becomes_more_severe_is_nobodys_again() -> None:
    alerts = board()
    alerts.acknowledge(fired(alerts).id, by="ann", now_ms=1)
    worse = alerts.fire("BALANCE_DRIFT", "much", now_ms=2, symbol="USDT", severity="CRITICAL")

    assert worse is not None
    assert (worse.severity, worse.acked_by, worse.acked_ms) == ("CRITICAL", None, None)


# -- silences ----------------------------------------------------------------------------------------------------------


def silence(type_: str | None, symbol: str | None, *, from_ms: int = 10, until_ms: int = 20) -> Silence:
    return Silence(from_ms, until_ms, type_, symbol, "ann", "maintenance")  # type: ignore[arg-type]


def test_a_silence_covers_its_time_its_type_and_its_symbol() -> None:
    alert = fired(board())

    assert [silence(None, None).covers(alert, now) for now in (9, 10, 19, 20)] == [False, True, True, False]
    assert silence("BALANCE_DRIFT", "USDT").covers(alert, 15)
    assert not silence("BALANCE_DRIFT", "BNB").covers(alert, 15)
    assert not silence("LOW_BALANCE", None).covers(alert, 15)


def test_the_last_silence_of_a_type_and_symbol_counts() -> None:
    silences: dict[str, Silence] = {}
    keep_silence(silences, silence(None, None, from_ms=10, until_ms=100))
    keep_silence(silences, silence("LOW_BALANCE", None))
    over = silence(None, None, from_ms=50, until_ms=50)
    keep_silence(silences, over)

    assert list(silences.values()) == [silence("LOW_BALANCE", None), over]


def test_silences_are_not_remembered_without_end() -> None:
    silences: dict[str, Silence] = {}
    for number in range(MAX_SILENCES + 5):
        keep_silence(silences, silence(None, str(number)))

    assert len(silences) == MAX_SILENCES
    assert ":0" not in silences


# -- floods ------------------------------------------------------------------------------------------------------------


def test_a_thousand_warnings_do_not_mute_what_is_critical() -> None:
    alerts = board()
    for number in range(MAX_FIRING):
        alerts.fire("CONFLICTING_FILL", "differs", now_ms=0, symbol=str(number))

    assert alerts.fire("LOW_BALANCE", "low", now_ms=1) is None
    assert alerts.fire("HIGH_MARGIN_RATIO", "high", now_ms=1, severity="CRITICAL") is not None


def test_a_repeat_is_known_by_what_it_says_and_not_by_when_it_was_said() -> None:
    alert = Alert("a", "LOW_BALANCE", None, "WARNING", "FIRING", "little is left", 1, 1, revision=1)
    others = [
        alert._replace(state="RESOLVED"), alert._replace(severity="CRITICAL"), alert._replace(cause="FEE"),
        alert._replace(acked_by="me"), alert._replace(revision=2),
    ]  # fmt: skip

    assert alert._replace(at_ms=2, message="less is left").told_id == alert.told_id
    assert len({alert.told_id, *(other.told_id for other in others)}) == 6

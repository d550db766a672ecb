"""Who went without a word, and who bears another's name?"""

from __future__ import annotations

from account_monitor.cluster.attendance import NAMED_SECONDS, Attendance
from account_monitor.cluster.leases import Terms
from account_monitor.cluster.members import Board, Card, Member

TERMS = Terms(6.0)  # renewed every 2 s


def member(name: str, *, session: str = "", left: float = 5.0, draining: bool = False) -> Member:
    return Member(session or f"{name}-1", name, Card(is_draining=draining), left > 0, left)


def board(*members: Member) -> Board:
    return Board({each.session: each for each in members}, {})


ME = member("me")


def looked() -> Attendance:
    """Return what has seen `b`, whose session lasts until second 5."""
    attendance = Attendance("me", TERMS)
    attendance.look(board(ME, member("b")), "me-1", 0.0)
    return attendance


def test_whose_session_ends_with_its_time_is_lost_and_named() -> None:
    attendance = looked()

    assert [each.name for each in attendance.look(board(ME), "me-1", 5.1).lost] == ["b"]
    assert [(each.name, each.is_alive) for each in attendance.lost(5.1)] == [("b", False)]
    assert attendance.look(board(ME), "me-1", 6.0).lost == []  # it is news only once


def test_whose_session_is_over_and_not_taken_away_yet_is_lost_too() -> None:
    assert [each.name for each in looked().look(board(ME, member("b", left=0.0)), "me-1", 5.1).lost] == ["b"]


def test_a_session_that_was_ended_before_its_time_was_a_stop() -> None:
    attendance = looked()

    assert attendance.look(board(ME), "me-1", 2.0).lost == []
    assert attendance.lost(2.0) == []


def test_who_said_that_it_leaves_is_not_lost() -> None:
    attendance = looked()
    attendance.look(board(ME, member("b", draining=True)), "me-1", 1.0)

    assert attendance.look(board(ME), "me-1", 9.0).lost == []


def test_who_comes_again_under_its_name_is_back() -> None:
    attendance = looked()
    attendance.look(board(ME), "me-1", 5.1)

    assert attendance.look(board(ME, member("b", session="b-2")), "me-1", 8.0).back == ["b"]
    assert attendance.lost(8.0) == []


def test_who_restarted_before_its_old_session_ended_was_never_lost() -> None:
    attendance = looked()
    attendance.look(board(ME, member("b", left=2.0), member("b", session="b-2")), "me-1", 3.0)

    assert attendance.look(board(ME, member("b", session="b-2")), "me-1", 5.1).lost == []


def test_who_was_lost_is_named_for_some_time_only() -> None:
    attendance = looked()
    attendance.look(board(ME), "me-1", 5.1)

    assert attendance.lost(5.0 + NAMED_SECONDS) != []
    assert attendance.lost(5.1 + NAMED_SECONDS) == []


def test_a_session_of_the_same_name_is_a_namesake_once_it_outlasts_a_run_that_died() -> None:
    attendance = Attendance("me", TERMS)
    other = member("me", session="me-0")

    assert attendance.look(board(ME, other), "me-1", 0.0).namesakes == []
    assert attendance.look(board(ME, other), "me-1", 6.0).namesakes == []
    assert attendance.look(board(ME, other), "me-1", 6.1).namesakes == [other]
    assert attendance.look(board(ME, other), "me-1", 8.0).namesakes == []  # it is news only once
    assert attendance.namesakes(8.0) == [other]


def test_the_run_before_that_died_is_no_namesake() -> None:
    attendance = Attendance("me", TERMS)
    attendance.look(board(ME, member("me", session="me-0")), "me-1", 0.0)

    assert attendance.look(board(ME), "me-1", 6.1).namesakes == []
    assert attendance.namesakes(6.1) == []

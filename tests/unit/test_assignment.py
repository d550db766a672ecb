"""Who should hold what: evenly, by those who are ready for it, and with few moves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.cluster.assignment import Move, Plan, assign, followed_by, followers
from account_monitor.cluster.members import Board, Card, Holding, Member


def member(name: str, *, warm: Iterable[str] = (), unable: Iterable[str] = (), draining: bool = False) -> Member:
    return Member(name, name, Card(warm=frozenset(warm), unable=frozenset(unable), is_draining=draining), True)


def board(members: Iterable[Member], held: dict[str, str]) -> Board:
    return Board(
        {each.session: each for each in members},
        {account: Holding(1, session, session) for account, session in held.items()},
    )


def done(plan: Plan, before: Board) -> Board:
    """Return the board once all that a plan says is done."""
    holdings = dict(before.holdings)
    for session, accounts in plan.acquire.items():
        holdings |= {account: Holding(2, session, session) for account in accounts}
    holdings |= {move.account: Holding(2, move.target, move.target) for move in plan.moves}
    return before._replace(holdings=holdings)


def counts(accounts: Iterable[str], board: Board) -> Counter[str]:
    return Counter(holder.session for account in accounts if (holder := board.holder(account)) is not None)


ACCOUNTS = [f"a{number:02}" for number in range(10)]


def test_accounts_that_nobody_holds_are_shared_evenly() -> None:
    plan = assign(ACCOUNTS, board([member("x"), member("y"), member("z")], {}), moves_at_once=8)

    assert sorted(len(accounts) for accounts in plan.acquire.values()) == [3, 3, 4]
    assert sorted(account for accounts in plan.acquire.values() for account in accounts) == ACCOUNTS
    assert plan.moves == []


def test_what_is_well_shared_stays_where_it_is() -> None:
    held = {account: "xyz"[number % 3] for number, account in enumerate(ACCOUNTS)}
    members = [member("x"), member("y", warm=ACCOUNTS), member("z")]

    assert assign(ACCOUNTS, board(members, held), moves_at_once=8) == Plan({}, [])


def test_a_newcomer_gets_its_share_and_no_other_account_moves() -> None:
    held = {account: "xy"[number % 2] for number, account in enumerate(ACCOUNTS)}
    before = board([member("x"), member("y"), member("z")], held)
    plan = assign(ACCOUNTS, before, moves_at_once=100)

    assert {move.target for move in plan.moves} == {"z"}
    assert len(plan.moves) == 3
    assert sorted(counts(ACCOUNTS, done(plan, before)).values()) == [3, 3, 4]


def test_what_is_uncounted_is_held_by_somebody_and_part_of_no_share() -> None:
    members = [member("x"), member("y")]
    plan = assign(["a", "b", "letters"], board(members, {}), moves_at_once=8, uncounted=["letters"])

    assert counts("ab", done(plan, board(members, {}))) == {"x": 1, "y": 1}
    assert sorted(account for accounts in plan.acquire.values() for account in accounts) == ["a", "b", "letters"]


@pytest.mark.parametrize("holder", ["x", "y"])
def test_what_is_uncounted_moves_with_nobody_who_stays(holder: str) -> None:
    before = board([member("x"), member("y")], {"a": "x", "b": "y", "letters": holder})

    assert assign(["a", "b", "letters"], before, moves_at_once=8, uncounted=["letters"]) == Plan({}, [])


def test_what_is_uncounted_is_handed_over_by_whoever_leaves() -> None:
    before = board([member("x", draining=True), member("y")], {"a": "x", "letters": "x"})
    plan = assign(["a", "letters"], before, moves_at_once=8, uncounted=["letters"])

    assert plan.moves == [Move("a", "x", "y"), Move("letters", "x", "y")]


def test_only_so_many_move_at_once() -> None:
    before = board([member("x"), member("y")], dict.fromkeys(ACCOUNTS, "x"))

    assert len(assign(ACCOUNTS, before, moves_at_once=2).moves) == 2


def test_accounts_of_a_dead_member_go_to_who_is_warm_for_them() -> None:
    members = [member("x", warm=ACCOUNTS[:3]), member("y", warm=ACCOUNTS[3:6]), member("z", warm=ACCOUNTS[6:])]
    dead = Member("d", "d", Card(), False)
    plan = assign(ACCOUNTS, board([*members, dead], dict.fromkeys(ACCOUNTS, "d")), moves_at_once=8)

    assert plan.acquire == {"x": ACCOUNTS[:3], "y": ACCOUNTS[3:6], "z": ACCOUNTS[6:]}


def test_who_is_warm_takes_a_quarter_too_much_and_not_everything() -> None:
    plan = assign(ACCOUNTS, board([member("x", warm=ACCOUNTS), member("y")], {}), moves_at_once=8)

    assert sorted((session, len(accounts)) for session, accounts in plan.acquire.items()) == [("x", 6), ("y", 4)]


def test_a_member_that_comes_again_gets_what_it_had() -> None:
    members = [Member("x2", "x", Card(), True), member("y")]
    holdings = {account: Holding(1, None, "xy"[number % 2]) for number, account in enumerate(ACCOUNTS)}
    plan = assign(ACCOUNTS, Board({m.session: m for m in members}, holdings), moves_at_once=8)

    assert plan.acquire == {"x2": ACCOUNTS[0::2], "y": ACCOUNTS[1::2]}


def test_a_draining_member_hands_over_and_takes_nothing() -> None:
    before = board([member("x", draining=True, warm=ACCOUNTS), member("y")], dict.fromkeys(ACCOUNTS[:4], "x"))
    plan = assign(ACCOUNTS, before, moves_at_once=8)

    assert [(move.account, move.source, move.target) for move in plan.moves] == [(a, "x", "y") for a in ACCOUNTS[:4]]
    assert plan.acquire == {"y": ACCOUNTS[4:]}


def test_what_was_given_up_for_somebody_waits_for_him_unless_he_does_not_come() -> None:
    members = [member("x"), member("y")]
    waiting = Board({m.session: m for m in members}, {"main": Holding(1, None, "x", heir="y")})

    assert assign(["main"], waiting, moves_at_once=8).acquire == {"y": ["main"]}
    assert assign(["main"], waiting, moves_at_once=8, ignored_heirs={"main"}).acquire == {"x": ["main"]}


def test_who_could_not_take_an_account_up_is_not_asked_again_at_once() -> None:
    able, unable = member("x"), member("y", unable=["main"], warm=["main"])

    assert assign(["main"], board([able, unable], {}), moves_at_once=8).acquire == {"x": ["main"]}
    assert assign(["main"], board([unable], {}), moves_at_once=8) == Plan({}, [])


def test_without_members_there_is_no_plan() -> None:
    assert assign(ACCOUNTS, board([], {}), moves_at_once=8) == Plan({}, [])
    assert assign(ACCOUNTS, board([member("x", draining=True)], {}), moves_at_once=8) == Plan({}, [])


@given(st.data())
def test_whatever_the_board_plans_end_in_balance_and_stop_there(data: st.DataObject) -> None:
    accounts = [f"a{number}" for number in range(data.draw(st.integers(0, 40)))]
    names = "uvwxyz"[: data.draw(st.integers(1, 6))]
    members = [
        member(
            name,
            warm=data.draw(st.sets(st.sampled_from(accounts))) if accounts else (),
            draining=data.draw(st.booleans()) if name != "u" else False,
        )
        for name in names
    ]
    held = {a: h for a in accounts if (h := data.draw(st.sampled_from([*names, "gone", None]))) is not None}
    at = board(members, held)
    for _ in range(60):
        plan = assign(accounts, at, moves_at_once=3)
        assert plan == assign(list(reversed(accounts)), at, moves_at_once=3)  # whoever asks
        assert len(plan.moves) <= 3
        assert len({move.account for move in plan.moves}) == len(plan.moves)
        if plan == Plan({}, []):
            break
        at = done(plan, at)
    found = counts(accounts, at)
    active = [m.session for m in members if not m.card.is_draining]
    assert set(found) <= set(active)
    assert sum(found.values()) == len(accounts)
    assert max((found[s] for s in active), default=0) - min((found[s] for s in active), default=0) <= 1


# -- followers ---------------------------------------------------------------------------------------------------------


def test_every_account_is_followed_by_as_many_as_asked_for_where_there_are_so_many() -> None:
    members = [member(name) for name in "xyz"]

    assert {len(set(found)) for found in followers(ACCOUNTS, members, 2).values()} == {2}
    assert {len(found) for found in followers(ACCOUNTS, members, 5).values()} == {3}
    assert set(followers(ACCOUNTS, [member("x"), member("y", draining=True)], 2)["a00"]) == {"x"}
    assert followers(ACCOUNTS, [], 2) == {account: [] for account in ACCOUNTS}


def test_who_leaves_changes_only_what_it_followed() -> None:
    accounts = [f"a{number}" for number in range(2_000)]
    members = [member(f"m{number}") for number in range(10)]
    before, after = followers(accounts, members, 2), followers(accounts, members[1:], 2)

    changed = [account for account in accounts if before[account] != after[account]]
    assert all("m0" in before[account] for account in changed)
    assert all(next(s for s in before[account] if s != "m0") in after[account] for account in changed)


def test_every_account_has_one_follower_and_that_is_not_its_holder() -> None:
    held = {account: "xyz"[number % 3] for number, account in enumerate(ACCOUNTS)}
    at = board([member("x"), member("y"), member("z")], held)

    found = {session: followed_by(session, ACCOUNTS, at) for session in "xyz"}

    assert Counter(account for accounts in found.values() for account in accounts) == Counter(ACCOUNTS)
    assert all(held[account] != session for session, accounts in found.items() for account in accounts)
    assert followed_by("x", ACCOUNTS, board([member("x")], held)) == {a for a in ACCOUNTS if held[a] != "x"}


def test_what_is_on_its_way_to_its_follower_is_followed_by_nobody_else() -> None:
    held = dict.fromkeys(ACCOUNTS, "x")
    at = board([member("x"), member("y"), member("z")], held)
    given_up = at._replace(holdings={a: Holding(1, None, "x", heir="y") for a in ACCOUNTS})

    assert all(followed_by(session, ACCOUNTS, given_up) == followed_by(session, ACCOUNTS, at) for session in "xyz")


def test_who_followed_an_account_follows_it_while_its_dead_holder_is_replaced() -> None:
    held = dict.fromkeys(ACCOUNTS, "x")
    alive, dead = member("x"), member("x")._replace(is_alive=False)
    before, after = (board([each, member("y"), member("z")], held) for each in (alive, dead))

    assert all(followed_by(session, ACCOUNTS, after) == followed_by(session, ACCOUNTS, before) for session in "yz")


@pytest.mark.slow
def test_a_hundred_thousand_accounts_are_assigned_in_a_second() -> None:
    accounts = [f"account-{number:06}" for number in range(100_000)]
    members = [member(f"m{number:03}") for number in range(200)]
    warm: dict[str, set[str]] = {each.session: set() for each in members}
    for account, sessions in followers(accounts, members, 2).items():
        for session in sessions:
            warm[session].add(account)
    members = [member(each.session, warm=warm[each.session]) for each in members]
    held = {account: members[number % 200].session for number, account in enumerate(accounts)}
    at = board(members[1:], held)  # one has died

    began = time.process_time()
    plan = assign(accounts, at, moves_at_once=8)
    took = time.process_time() - began

    assert sum(map(len, plan.acquire.values())) == 500
    assert took < 2, "a second on a quiet machine; measured in docs/measured.md"

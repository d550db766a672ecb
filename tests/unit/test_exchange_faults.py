"""Faults: switched on and off, repeatable, and no business of the venue's own books."""

from __future__ import annotations

import contextlib

import pytest

from exchange_simulator.catalogue import GROUPS, KINDS
from exchange_simulator.exchange import Refused
from exchange_simulator.faults import Faults, UnknownFault
from tests.exchange_rig import KEY, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_the_same_seed_gives_the_same_faults() -> None:
    def run(seed: int) -> tuple[list[str], dict[str, int]]:
        rig = Rig(seed=seed)
        faults = rig.faults
        faults.set("frames", rate=5)
        faults.clear("huge_frame")
        client = rig.user_client()
        for _ in range(40):
            rig.trade()
            rig.pass_time(100)
        return [repr(output) for output in client.outputs], faults.struck

    assert run(3) == run(3)
    assert run(3)[1] != run(4)[1]
    assert len(run(3)[1]) > 10


def test_one_fault_does_not_change_when_another_strikes() -> None:
    alone, together = Faults(1), Faults(1)
    alone.set("drop", rate=0.3)
    together.set("drop", rate=0.3)
    together.set("duplicate", rate=0.5)

    def strikes(faults: Faults) -> list[bool]:
        found = []
        for now in range(100):
            faults.strikes("duplicate", now)
            found.append(faults.strikes("drop", now) is not None)
        return found

    assert strikes(alone) == strikes(together)


def test_everything_at_once_leaves_the_books_of_the_venue_alone() -> None:
    calm, stormy = Rig(), Rig()
    stormy.faults.set("all", rate=10)
    stormy.faults.clear("huge_frame")
    key = stormy.exchange.keys.start(KEY)
    with contextlib.suppress(Refused):
        stormy.client("/private/ws", f"listenKey={key}")
    for rig in (calm, stormy):
        for number in range(30):
            rig.trade("BUY" if number % 3 else "SELL")
            rig.signed("GET", "/fapi/v3/account")
            rig.pass_time(500)

    assert calm.venue.books(calm.account) == stormy.venue.books(stormy.account)


def test_a_fault_ends_by_itself_after_its_seconds(rig: Rig) -> None:
    rig.faults.set("http_500", seconds=5)
    assert rig.request("GET", "/fapi/v1/time").status == 500
    rig.pass_time(4999)
    assert rig.request("GET", "/fapi/v1/time").status == 500
    rig.pass_time(1)

    assert rig.request("GET", "/fapi/v1/time").status == 200
    assert rig.faults.describe() == {}


def test_a_command_line_is_understood() -> None:
    faults = Faults()

    faults.parse("drop=0.01, delay=0.05:ms=300:count=3,half_open")

    assert faults.describe() == {
        "drop": {"rate": 0.01, "struck": 0},
        "delay": {"rate": 0.05, "ms": 300, "struck": 0, "count": 3},
        "half_open": {"rate": KINDS["half_open"].rate, "struck": 0},
    }


@pytest.mark.parametrize("group", ["frames", "sockets", "rest", "all"])
def test_groups_switch_on_each_of_their_faults(group: str) -> None:
    faults = Faults()

    faults.parse(group)

    assert set(faults.describe()) == set(GROUPS[group])
    assert all(fault["rate"] == KINDS[name].rate for name, fault in faults.describe().items())
    faults.clear(group)
    assert faults.describe() == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "fault 'nonsense' is not known"),
        ("drop=2", "rate was 2.0, expected 0 to 1"),
        ("drop=many", "rate was 'many', expected a number from 0"),
        ("drop=-1", "expected a number from 0"),
        ("drop=nan", "expected a number from 0"),
        ("drop=0.1:speed=3", "no setting 'speed'"),
        ("drop=0.1:ms", "'ms' was not understood"),
        ("drop=0.1:streams=all", "expected user or market"),
    ],
)
def test_what_is_not_understood_is_said(text: str, said: str) -> None:
    with pytest.raises(UnknownFault, match=said):
        Faults().parse(text)

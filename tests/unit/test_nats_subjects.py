"""Which streams cover which subjects."""

from __future__ import annotations

import pytest

from account_monitor.feeds.jetstream import Stream
from account_monitor.feeds.subjects import Coverage, coverage, intersection, matches

FILLS = ("trading.fills", "trading.fills.*")


def stream(name: str, *subjects: str) -> Stream:
    """Return a stream of these subjects."""
    return Stream(name, "2026", subjects, keeps_acknowledged=True, first_sequence=1, last_sequence=0)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a.b", "a.b", "a.b"), ("a.b", "a.c", None), ("a.*", "a.b", "a.b"), ("a.*", "*.b", "a.b"),
        ("a.*", "a.*", "a.*"),
        ("a.*", "a.>", "a.*"), ("a", "a.>", None), ("a.b.c", "a.>", "a.b.c"), ("a.*", ">", "a.*"),
        ("a.*", "a.*.c", None),
        ("a.*.c", "*.b.*", "a.b.c"), ("*.>", "a.>", "a.>"), ("a", "a.b", None),
    ],
)  # fmt: skip
def test_the_subjects_that_two_patterns_share(one: str, other: str, both: str | None) -> None:
    assert intersection(one, other) == both
    assert intersection(other, one) == both


def test_a_subject_matches_a_pattern() -> None:
    assert matches("trading.fills.*", "trading.fills.main")
    assert not matches("trading.fills.*", "trading.fills")
    assert not matches("trading.fills.main", "trading.fills.alt")


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        ([], Coverage({}, {"trading.fills": (), "trading.fills.*": ()})),
        ([stream("A", "other.>")], Coverage({}, {"trading.fills": (), "trading.fills.*": ()})),
        ([stream("A", "trading.>")], Coverage({"A": FILLS}, {})),
        ([stream("A", *FILLS)], Coverage({"A": FILLS}, {})),
        ([stream("A", ">")], Coverage({"A": FILLS}, {})),
        ([stream("A", FILLS[0]), stream("B", FILLS[1])], Coverage({"A": FILLS[:1], "B": FILLS[1:]}, {})),
        ([stream("A", "trading.fills.>")], Coverage({"A": ("trading.fills.*",)}, {"trading.fills": ()})),
        (
            [stream("A", "trading.fills.main"), stream("B", "*.*.alt")],
            Coverage(
                {"A": ("trading.fills.main",), "B": ("trading.fills.alt",)},
                {"trading.fills": (), "trading.fills.*": ("trading.fills.main", "trading.fills.alt")},
            ),
        ),
    ],
)
def test_a_subject_is_read_from_the_streams_that_hold_it_and_the_rest_is_heard_on_core_nats(
    streams: list[Stream], expected: Coverage
) -> None:
    assert coverage(FILLS, streams) == expected

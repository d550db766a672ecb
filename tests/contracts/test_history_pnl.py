"""P&L over time, whichever database keeps it: the same answers, to the last digit, and what is forgotten when."""

from __future__ import annotations

import random
import time
from decimal import Decimal

import pytest

from account_monitor.monitor.ports import Extremes, Figures, PnLBucket, PnLHistory, PnLQuery
from account_monitor.stores.history import sqlite
from account_monitor.stores.history.keeping import Keeping
from account_monitor.stores.history.store import HistoryStore, Span
from tests.history_samples import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    Place,
    TimescalePlace,
    naive_pnl,
    random_snapshots,
    snapshot,
    write_snapshots,
)
from tests.servers.postgres import FreshDatabase

pytestmark = pytest.mark.integration

D = Decimal
ZERO = D(0)

INTERVALS = (SECOND, 30 * SECOND, MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY)


def query(from_ms: int, to_ms: int, interval_ms: int, symbol: str | None = None) -> PnLQuery:
    return PnLQuery("main", symbol, from_ms, to_ms, interval_ms)


def equities(history: PnLHistory) -> list[tuple[int, Decimal | None, Decimal | None, Decimal | None, Decimal | None]]:
    """Return when each bucket begins, and the first, last, lowest and highest equity in it."""
    return [(b.at_ms, b.first.equity, b.last.equity, b.lowest.equity, b.highest.equity) for b in history.buckets]


async def test_an_hour_is_its_first_and_last_snapshot_and_how_far_it_went(store: HistoryStore) -> None:
    await write_snapshots(
        store,
        snapshot(NOW - 1, "100", "1"),
        snapshot(NOW, "101", "2"),
        snapshot(NOW + 30 * MINUTE, "90", "-5"),
        snapshot(NOW + HOUR - 1, "105", "4"),
        snapshot(NOW + HOUR, "1", "1"),
    )

    def figures(equity: int, gain: int) -> Figures:
        return Figures(D(equity), D(gain), ZERO, D(gain), ZERO, ZERO, ZERO, D(gain))

    assert await store.pnl(query(NOW, NOW + HOUR, HOUR)) == PnLHistory(
        figures(100, 1),
        [
            PnLBucket(
                NOW,
                3,
                figures(101, 2),
                figures(105, 4),
                Extremes(D(90), D(-5), ZERO, D(-5), D(-5)),
                Extremes(D(105), D(4), ZERO, D(4), D(4)),
            )
        ],
    )


async def test_where_nobody_was_watching_there_is_no_bucket(store: HistoryStore) -> None:
    await write_snapshots(store, snapshot(NOW, "100"), snapshot(NOW + 3 * DAY, "103"))

    for interval_ms in (SECOND, MINUTE, HOUR, DAY):
        history = await store.pnl(query(NOW, NOW + 4 * DAY, interval_ms))
        assert [bucket.at_ms for bucket in history.buckets] == [NOW, NOW + 3 * DAY]
        assert history.before is None


async def test_buckets_are_aligned_to_utc(store: HistoryStore) -> None:
    await write_snapshots(store, snapshot(NOW - 1, "1"), snapshot(NOW, "2"), snapshot(NOW + DAY - 1, "3"))

    assert equities(await store.pnl(query(NOW - DAY, NOW + DAY, DAY))) == [
        (NOW - DAY, D(1), D(1), D(1), D(1)),
        (NOW, D(2), D(3), D(2), D(3)),
    ]
    weeks = await store.pnl(query(NOW - NOW % (7 * DAY), NOW + 7 * DAY, 7 * DAY))
    assert [bucket.at_ms for bucket in weeks.buckets] == [NOW // (7 * DAY) * 7 * DAY]


async def test_accounts_and_positions_are_kept_apart(store: HistoryStore) -> None:
    await write_snapshots(
        store, snapshot(NOW, "1"), snapshot(NOW, "2", symbol="BTCUSDT"), snapshot(NOW, "3", symbol="BTCUSDT:LONG")
    )

    for symbol, equity in ((None, 1), ("BTCUSDT", 2), ("BTCUSDT:LONG", 3)):
        for interval_ms in (SECOND, DAY):
            history = await store.pnl(query(NOW, NOW + DAY, interval_ms, symbol))
            assert [bucket.first.equity for bucket in history.buckets] == [equity]
    assert await store.pnl(query(NOW, NOW + DAY, DAY)._replace(account="alt")) == PnLHistory(None, [])
    assert await store.pnl(query(NOW, NOW + DAY, DAY, "ETHUSDT")) == PnLHistory(None, [])


async def test_what_is_not_known_is_neither_zero_nor_an_extreme(store: HistoryStore) -> None:
    await write_snapshots(store, snapshot(NOW, None), snapshot(NOW + 1, "5"))
    await write_snapshots(store, snapshot(NOW + 2, "-3"), snapshot(NOW + 3, None))
    await write_snapshots(store, snapshot(NOW + DAY, None))

    for interval_ms in (SECOND, MINUTE, DAY):
        assert equities(await store.pnl(query(NOW, NOW + 2 * DAY, interval_ms))) == [
            (NOW, None, None, D(-3), D(5)),
            (NOW + DAY, None, None, None, None),
        ]


async def test_a_clock_that_was_put_back_changes_no_order(store: HistoryStore) -> None:
    await write_snapshots(store, snapshot(NOW + 500, "1"))
    await write_snapshots(store, snapshot(NOW + 400, "2"), snapshot(NOW + 400, "3"))

    for interval_ms in (SECOND, 30 * SECOND, MINUTE, 30 * MINUTE, HOUR, DAY, 7 * DAY):
        start = NOW - NOW % interval_ms
        history = await store.pnl(query(start, start + interval_ms, interval_ms))
        assert equities(history) == [(start, D(1), D(3), D(1), D(3))]


async def test_numbers_come_back_to_the_last_digit(store: HistoryStore) -> None:
    texts = [
        "98765432109876543210987654321098765432.1098765432109876543210987654321098765432",
        "-0.00000001", "1E-8", "1E+5", "-0E-20", "50000.1000", "0.00000000000000000000000000000000000001",
    ]  # fmt: skip
    await write_snapshots(store, *(snapshot(NOW + i * HOUR, text) for i, text in enumerate(texts)))

    hours = await store.pnl(query(NOW, NOW + DAY, HOUR))
    assert [bucket.last.equity for bucket in hours.buckets] == [D(text) for text in texts]
    [day] = (await store.pnl(query(NOW, NOW + DAY, DAY))).buckets
    assert (day.lowest.equity, day.highest.equity) == (D("-1E-8"), D(texts[0]))


@pytest.mark.parametrize("seed", range(2))
async def test_every_store_answers_as_a_naive_one(store: HistoryStore, place: Place, seed: int) -> None:
    rng = random.Random(seed)
    snapshots = random_snapshots(rng, 120)
    rest = snapshots
    while rest:
        count = rng.randint(1, 60)
        await write_snapshots(store, *rest[:count])
        rest = rest[count:]
        if rest and rng.random() < 0.5:
            await place.sum_up(rest[0].at_ms)
    end = snapshots[-1].at_ms

    for interval_ms in INTERVALS:
        for symbol in (None, "1000SHIBUSDT:LONG"):
            from_ms = rng.randint(NOW - DAY, end) // interval_ms * interval_ms
            to_ms = rng.randint(from_ms, end + DAY) // interval_ms * interval_ms + interval_ms
            asked = query(from_ms, to_ms, interval_ms, symbol)
            assert await store.pnl(asked) == naive_pnl(snapshots, asked), asked


async def test_before_there_are_tables_there_is_no_history(place: Place) -> None:
    reader = place.store()
    await reader.connect()

    assert await reader.pnl(query(NOW, NOW + DAY, DAY)) == PnLHistory(None, [])
    assert await reader.replica("main") is None
    assert await reader.accounts() == []
    assert [rows async for rows in reader.snapshots(Span("main", None, 0, NOW))] == []
    assert [rows async for rows in reader.alerts(Span("main", None, 0, NOW))] == []

    writer = place.store()
    await writer.open()
    await write_snapshots(writer, snapshot(NOW, "100"))
    assert len((await reader.pnl(query(NOW, NOW + DAY, DAY))).buckets) == 1
    await reader.close()
    await writer.close()


# -- what is forgotten -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
async def test_old_snapshots_and_minutes_are_pruned_and_hours_and_days_stay(store: HistoryStore, place: Place) -> None:
    await write_snapshots(store, *(snapshot(NOW + i * 30 * MINUTE, str(i)) for i in range(96)))
    before = {
        ms: await store.pnl(query(NOW, NOW + 2 * DAY, ms)) for ms in (SECOND, MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, DAY)
    }

    await store.prune(NOW + DAY)

    assert await place.ask("SELECT count(*), min(timestamp) FROM pnl_snapshots") == [(48, NOW + DAY)]
    for ms in (HOUR, 6 * HOUR, DAY):
        assert await store.pnl(query(NOW, NOW + 2 * DAY, ms)) == before[ms]
    for ms in (SECOND, MINUTE, 30 * MINUTE):
        assert (await store.pnl(query(NOW, NOW + 2 * DAY, ms))).buckets == [
            bucket for bucket in before[ms].buckets if bucket.at_ms >= NOW + DAY
        ]
        # The last figures before are those of the last hour: seconds and minutes are gone.
        after = await store.pnl(query(NOW + DAY, NOW + 2 * DAY, ms))
        assert after.before == before[HOUR].buckets[23].last


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
async def test_more_is_pruned_than_goes_at_once(
    store: HistoryStore, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{type(store).__module__}._PRUNED_AT_ONCE", 7)
    await write_snapshots(store, *(snapshot(NOW + i * MINUTE, str(i)) for i in range(30)))

    await store.prune(NOW + 29 * MINUTE)

    assert await place.ask("SELECT timestamp FROM pnl_snapshots") == [(NOW + 29 * MINUTE,)]
    assert await place.ask("SELECT bucket FROM pnl_1m") == [(NOW + 29 * MINUTE,)]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["prune_snapshots", "prune_minutes"])
async def test_what_is_old_is_found_without_reading_what_is_not(store: HistoryStore, place: Place, name: str) -> None:
    statement = sqlite.SQL[name].replace("?", "9")

    plan = [row[3] for row in await place.ask(f"EXPLAIN QUERY PLAN {statement}")]

    assert any("_by_age (" in step for step in plan)
    assert not any(step.startswith("SCAN") for step in plan)


async def test_timescale_is_told_how_long_to_keep_and_when_to_compress(timescale_database: FreshDatabase) -> None:
    jobs = (
        "SELECT proc_name, coalesce(config ->> 'drop_after', config ->> 'compress_after', config ->> 'start_offset')"
        " FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY 1, 2"
    )
    places = [TimescalePlace(timescale_database, keeping=Keeping(days * DAY, 3 * DAY)) for days in (90, 30, 1)]
    told = []
    for place in places:
        store = place.store()
        ids = []
        for _ in range(2):  # the second time it finds everything as it should be
            await store.open()
            ids.append(await place.ask("SELECT job_id FROM timescaledb_information.jobs ORDER BY 1"))
        assert ids[0] == ids[1]
        told.append(await place.ask(jobs))
        await store.close()

    def expected(retention: str) -> list[tuple[str, str]]:
        return [
            ("policy_compression", "3 days"),
            ("policy_refresh_continuous_aggregate", "1 day"),
            ("policy_refresh_continuous_aggregate", "3 days"),
            ("policy_refresh_continuous_aggregate", "5 days"),
            ("policy_retention", retention),
            ("policy_retention", retention),
        ]

    assert told == [expected("90 days"), expected("30 days"), expected("7 days")]  # days are summed up from them


async def test_timescale_forgets_snapshots_and_minutes_and_keeps_hours_and_days(
    timescale_database: FreshDatabase,
) -> None:
    place = TimescalePlace(timescale_database, keeping=Keeping(30 * DAY, 7 * DAY))
    store = place.store()
    await store.open()
    today = int(time.time()) * SECOND // DAY * DAY  # the database forgets by its own clock
    at = [today - days * DAY + 5 * MINUTE for days in (60, 40, 20, 10, 0)]
    await write_snapshots(store, *(snapshot(ms, str(i), symbol=None) for i, ms in enumerate(at)))
    asked = {ms: query(today - 70 * DAY, today + DAY, ms) for ms in (SECOND, MINUTE, HOUR, DAY)}
    before = {ms: await store.pnl(asked[ms]) for ms in asked}
    assert [len(history.buckets) for history in before.values()] == [5, 5, 5, 5]

    await place.sum_up(today)
    jobs = (
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name IN ('policy_retention', 'policy_compression')"
    )
    for (job,) in await place.ask(jobs):
        await place.ask(f"CALL run_job({job})")
    await store.prune(0)  # sums up once more, where the database had no time for it

    assert await place.ask("SELECT timestamp FROM pnl_snapshots ORDER BY 1") == [(ms,) for ms in at[2:]]
    chunks = (
        "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'pnl_snapshots' AND is_compressed"
    )
    assert await place.ask(chunks) == [(2,)]
    for ms in (HOUR, DAY):
        assert await store.pnl(asked[ms]) == before[ms]
    for ms in (SECOND, MINUTE):
        assert (await store.pnl(asked[ms])).buckets == before[ms].buckets[2:]
    await store.close()


async def test_timescale_sums_up_what_came_later_than_it_looks_back(timescale_database: FreshDatabase) -> None:
    place = TimescalePlace(timescale_database, keeping=Keeping(30 * DAY, 7 * DAY))
    store = place.store()
    await store.open()
    today = int(time.time()) * SECOND // DAY * DAY
    await write_snapshots(store, snapshot(today, "1"))
    await place.sum_up(today + HOUR)
    await write_snapshots(store, snapshot(today - 20 * DAY, "2"))  # of an account that was behind

    await store.prune(0)

    for ms in (MINUTE, HOUR, DAY):
        history = await store.pnl(query(today - 30 * DAY, today + DAY, ms))
        assert [bucket.last.equity for bucket in history.buckets] == [D(2), D(1)]
    await store.close()

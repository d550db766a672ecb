"""People are told: every transition once, in order, through failing channels, floods, silences, restarts."""

from __future__ import annotations

import asyncio

import pytest

from account_monitor.ledger.alerts import Alert, AlertType, Silence
from account_monitor.notifiers import channels, courier
from account_monitor.notifiers.courier import failures
from account_monitor.notifiers.people import reach_of
from tests.integration.mail_server import mail_server
from tests.integration.people_rig import Rig, firing, resolved, settings, telling
from tests.integration.trading_desk import TradingDesk, clock, eventually
from tests.integration.webhook import Webhook, webhook

pytestmark = pytest.mark.integration

SHORT = 0.4


@pytest.fixture
async def desk(desk: TradingDesk) -> TradingDesk:
    await desk.open()
    return desk


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that takes seconds take tenths."""
    monkeypatch.setattr(channels, "SEND_SECONDS", SHORT)
    monkeypatch.setattr(courier, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(courier, "LONGEST_RETRY_SECONDS", 0.1)


async def silence(desk: TradingDesk, type_: AlertType | None = None, *, for_ms: int = 60_000) -> None:
    """Let nobody be told of a type, or of anything, for a while; for no time at all ends that."""
    await desk.trade(Silence(clock(), clock() + for_ms, type_, None, "anna", "maintenance"))


def failing(rig: Rig) -> list[tuple[str | None, str]]:
    return [(alarm.alert.symbol, alarm.alert.message) for alarm in failures(rig.alarms)]


async def test_every_transition_is_told_once_in_order(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url):
        await desk.trade(firing("a"), firing("b", severity="CRITICAL"))
        await desk.trade(resolved(firing("a")))
        posts = await hook.until(3)
        await asyncio.sleep(SHORT)

    assert hook.ids == ["a:0", "b:0", "a:1"]
    assert [post.type for post in posts] == ["warning", "failure", "success"]
    assert posts[0].title.startswith("WARNING main STREAM_STALE a since 20")
    assert posts[2].title == "RESOLVED main STREAM_STALE a after 2 s"
    assert posts[0].message == "a is silent\nAlert a, transition 0"


async def test_a_mail_is_plain_text_and_says_it_in_its_subject(desk: TradingDesk) -> None:
    async with mail_server() as mails:
        url = f"mailto://127.0.0.1:{mails.port}?from=monitor@test.example&to=desk@test.example&mode=insecure"
        async with telling(desk, url):
            await desk.trade(firing("a"))
            await eventually(lambda: bool(mails.mails), timeout_seconds=10)

    assert mails.subjects[0].startswith("WARNING main STREAM_STALE a since 20")
    assert "a is silent\nAlert a, transition 0" in mails.text(0).replace("\r", "")


async def test_a_restart_goes_on_where_the_journal_says(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url):
        await desk.trade(firing("a"))
        await hook.until(1)
        await eventually(lambda: noted(desk, hook.url) > 1)
    await desk.trade(firing("b"))
    await desk.close("main")
    await desk.open()
    async with telling(desk, hook.url):
        await desk.trade(firing("c"))
        await hook.until(3)
        await asyncio.sleep(SHORT)

    assert hook.ids == ["a:0", "b:0", "c:0"]


async def test_how_far_it_is_stands_in_the_journal_before_the_next_letter_leaves(
    desk: TradingDesk, hook: Webhook
) -> None:
    async with telling(desk, hook.url):
        hook.hangs = True
        await desk.trade(*[firing(name) for name in "abc"])
        first = desk.monitor().view.seq - 2
        await eventually(lambda: hook.attempts == 1)
        assert noted(desk, hook.url) < first
        hook.hangs = False
        await hook.until(1)
        await eventually(lambda: hook.attempts >= 2)
        assert noted(desk, hook.url) >= first


def noted(desk: TradingDesk, url: str, account: str = "main") -> int:
    """Return up to where the journal says that a channel is."""
    (channel,) = reach_of(settings(url)).channels
    position = desk.monitor(account).journal.positions.get(f"out:people:{channel.digest}")
    return 0 if position is None else position.sequence


async def test_a_kill_repeats_one_letter_at_most_under_the_same_id(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url):
        await desk.trade(firing("a"), firing("b"))
        await hook.until(2)
        await eventually(lambda: noted(desk, hook.url) > 2)
        hook.posts.clear()
        desk.monitor().inbox.seal()  # nothing is recorded any more, as after a kill
    await desk.close("main")
    await desk.open()
    async with telling(desk, hook.url):
        await desk.trade(firing("c"))
        await hook.until(1)
        desk.monitor().inbox.seal()
    await desk.close("main")
    await desk.open()
    async with telling(desk, hook.url):
        await hook.until(1)
        await asyncio.sleep(SHORT)

    assert hook.ids in (["c:0"], ["c:0", "c:0"])


async def test_a_new_channel_begins_with_what_fires_and_not_with_the_past(desk: TradingDesk, hook: Webhook) -> None:
    await desk.trade(over := firing("old"), resolved(over), firing("still", severity="CRITICAL"))
    async with telling(desk, hook.url):
        await hook.until(1)
        await desk.trade(firing("new"))
        await hook.until(2)

    assert hook.titles[0].startswith("STILL CRITICAL main STREAM_STALE still since")
    assert hook.ids == ["still:0", "new:0"]


@pytest.mark.usefixtures("impatient")
async def test_a_channel_that_fails_is_told_on_the_others_and_gets_one_summary_at_its_end(
    desk: TradingDesk, hook: Webhook
) -> None:
    async with webhook() as other, telling(desk, hook.url, other.url) as rig:
        hook.status = 503
        await desk.trade(*[firing(name) for name in "abc"])
        await other.until(4)
        assert failing(rig)[-1][0] == "json"
        assert "s3cret" not in str(failing(rig))
        assert "503" in failing(rig)[-1][1]
        assert {post.id for post in other.posts[:3]} == {"a:0", "b:0", "c:0"}
        assert "CHANNEL_FAILED json" in other.titles[3]

        await desk.trade(resolved(firing("a"), after_ms=1))
        hook.status = 200
        await hook.until(1)
        await eventually(lambda: failing(rig) == [], timeout_seconds=5)
        await other.until(6)

    assert len(hook.posts) == 1
    assert hook.titles == ["2 WARNING, 1 RESOLVED (main)"]
    lines = hook.posts[0].message.splitlines()
    assert lines[0].startswith("Nothing could be sent here from 20")
    assert [line.split()[0] for line in lines[1:]] == ["WARNING", "WARNING", "RESOLVED"]
    assert other.titles[5].startswith("RESOLVED main CHANNEL_FAILED json after")


@pytest.mark.usefixtures("impatient")
async def test_a_channel_that_hangs_delays_nobody(desk: TradingDesk, hook: Webhook) -> None:
    async with webhook() as other, telling(desk, hook.url, other.url) as rig:
        hook.hangs = True
        started = asyncio.get_running_loop().time()
        await desk.trade(*[firing(name) for name in "abc"])
        await other.until(3)
        assert asyncio.get_running_loop().time() - started < SHORT
        await other.until(4)
        assert failing(rig)[-1] == ("json", "json does not take what people are to hear: no answer within 0.4 s")
        await eventually(lambda: hook.attempts == channels.MAX_HANGING, timeout_seconds=5)
        await asyncio.sleep(SHORT)
        assert hook.attempts == channels.MAX_HANGING  # no thread is added for each attempt
        hook.hangs = False
        await eventually(lambda: failing(rig) == [], timeout_seconds=5)


async def test_more_than_ten_at_once_are_one_summary_the_worst_first(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url):
        many = [firing(f"S{number}", severity="WARNING") for number in range(14)]
        desk.put(*many, firing("worst", severity="CRITICAL"))
        (post,) = await hook.until(1)
        await asyncio.sleep(SHORT)

    assert hook.posts == [post]
    assert post.title == "1 CRITICAL, 14 WARNING (main)"
    assert post.type == "failure"
    assert post.message.splitlines()[0].startswith("CRITICAL main STREAM_STALE worst")
    assert len(post.message.splitlines()) == 15


async def test_in_a_flood_what_is_critical_does_not_wait(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url):
        desk.put(*[firing(f"S{number}") for number in range(12)])
        await hook.until(1)
        await desk.trade(firing("late"))
        await asyncio.sleep(SHORT)
        assert len(hook.posts) == 1
        await desk.trade(firing("worst", severity="CRITICAL"))
        await hook.until(2, timeout_seconds=4)

    assert hook.titles[1] == "1 CRITICAL, 1 WARNING (main)"


async def test_what_is_silenced_is_told_when_the_silence_is_over_if_it_fires_still(
    desk: TradingDesk, hook: Webhook
) -> None:
    async with telling(desk, hook.url) as rig:
        await silence(desk, "STREAM_STALE")
        for symbol in ("a", "b"):
            rig.alarms.fire("main", "STREAM_STALE", "silent", symbol=symbol)
        rig.alarms.fire("main", "MARGIN_CALL", "reduce", severity="CRITICAL")
        await hook.until(1)
        rig.alarms.resolve("main", "STREAM_STALE", symbol="b")
        await asyncio.sleep(1.5)
        assert [title.split()[2] for title in hook.titles] == ["MARGIN_CALL"]
        await silence(desk, "STREAM_STALE", for_ms=0)
        await hook.until(2)
        await asyncio.sleep(SHORT)

    assert [title.split(" since")[0] for title in hook.titles[1:]] == ["STILL WARNING main STREAM_STALE a"]


async def test_a_restart_in_a_silence_loses_nothing(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url) as rig:
        await silence(desk)
        rig.alarms.fire("main", "STREAM_STALE", "silent", symbol="a")
        await asyncio.sleep(2.5)
    await silence(desk, for_ms=0)
    await desk.close("main")
    await desk.open()
    async with telling(desk, hook.url):
        await hook.until(1)
        await asyncio.sleep(1.5)

    assert [title.split(" since")[0] for title in hook.titles] == ["STILL WARNING main STREAM_STALE a"]


async def test_what_a_silence_holds_back_is_known_after_a_restart_although_another_could_not_be_told(
    desk: TradingDesk, hook: Webhook, impatient: None
) -> None:
    async with telling(desk, hook.url) as rig:
        await eventually(lambda: noted(desk, hook.url) > 0)
        hook.status = 503
        await silence(desk, "STREAM_STALE")
        rig.alarms.fire("main", "STREAM_STALE", "silent", symbol="a", severity="CRITICAL")
        rig.alarms.fire("main", "MARGIN_CALL", "reduce", severity="CRITICAL")
        await eventually(lambda: hook.attempts >= 2)
        await asyncio.sleep(1.5)  # the place is recorded
        await silence(desk, "STREAM_STALE", for_ms=0)
    await desk.close("main")
    await desk.open()
    hook.status = 200
    async with telling(desk, hook.url):
        await hook.until(2)

    assert [title.split(" since")[0] for title in hook.titles] == [
        "CRITICAL main MARGIN_CALL",
        "STILL CRITICAL main STREAM_STALE a",
    ]


async def test_a_restart_in_a_silence_repeats_nothing_that_was_told(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url) as rig:
        rig.alarms.fire("main", "MARGIN_CALL", "reduce", severity="CRITICAL")
        rig.alarms.fire("main", "RATE_LIMITED", "slow")
        await hook.until(2)
        acknowledged = desk.monitor().acknowledge(rig.alarms.open()[0].alert.id, "anna")
        assert acknowledged is not None
        desk.put(acknowledged)
        await hook.until(3)
        await silence(desk, "STREAM_STALE")
        rig.alarms.fire("main", "STREAM_STALE", "silent", symbol="a")
        await asyncio.sleep(2.5)
    await desk.close("main")
    await desk.open()
    async with telling(desk, hook.url):
        await asyncio.sleep(1.5)
        assert len(hook.posts) == 3, hook.titles
        await silence(desk, "STREAM_STALE", for_ms=0)
        await hook.until(4)

    assert [title.split(" since")[0] for title in hook.titles[3:]] == ["STILL WARNING main STREAM_STALE a"]


async def test_a_summary_says_what_is_over_although_no_journal_takes_the_end(
    desk: TradingDesk, hook: Webhook, impatient: None
) -> None:
    async with telling(desk, hook.url) as rig:
        hook.status = 503
        await desk.trade(begin := firing("a", severity="CRITICAL"))
        await eventually(lambda: hook.attempts >= 2)
        end = resolved(begin, after_ms=5)
        rig.alarms._watched("main").unrecorded[end.event_id] = end  # as it is while the disk is full
        hook.status = 200
        await hook.until(1)

    assert hook.titles == ["1 RESOLVED (main)"]


async def test_a_summary_says_what_is_over_although_the_clock_stepped_back(
    desk: TradingDesk, hook: Webhook, impatient: None
) -> None:
    async with telling(desk, hook.url):
        hook.status = 503
        await desk.trade(begin := firing("a", severity="CRITICAL"), resolved(begin, after_ms=-2_000))
        await eventually(lambda: hook.attempts >= 2)
        hook.status = 200
        await hook.until(1)

    assert hook.titles == ["1 RESOLVED (main)"]


async def test_reminders_come_while_nobody_looks_after_it(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url, repeat_seconds=1.5) as rig:
        rig.alarms.fire("main", "STREAM_STALE", "silent", symbol="a")
        await hook.until(3)
        rig.alarms.resolve("main", "STREAM_STALE", symbol="a")
        await hook.until(4)
        await asyncio.sleep(2)

    assert [title.split()[0] for title in hook.titles] == ["WARNING", "STILL", "STILL", "RESOLVED"]


async def test_people_hear_who_looks_after_it_and_are_not_reminded_any_more(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url, repeat_seconds=1.0) as rig:
        rig.alarms.fire("main", "STREAM_STALE", "silent", symbol="a")
        await hook.until(1)
        alert = desk.monitor().acknowledge(rig.alarms.open()[0].alert.id, "anna")
        assert alert is not None
        desk.put(alert)
        await eventually(lambda: any("ACKNOWLEDGED" in title for title in hook.titles))
        seen = len(hook.posts)
        await asyncio.sleep(2.5)
        assert len(hook.posts) == seen

    assert hook.titles[-1] == "ACKNOWLEDGED by anna: WARNING main STREAM_STALE a"


async def test_what_no_journal_can_take_is_told_and_not_once_more_when_one_can(
    desk: TradingDesk, hook: Webhook
) -> None:
    async with telling(desk, hook.url) as rig:
        unrecorded = rig.alarms._watched("main").unrecorded
        lost = firing("lost", severity="CRITICAL")
        unrecorded[lost.event_id] = lost  # as it is while the disk is full
        (post,) = await hook.until(1)
        await asyncio.sleep(1.5)
        assert hook.posts == [post]
        unrecorded.clear()
        desk.put(lost, firing("next"))  # there is room again
        await hook.until(2)
        await asyncio.sleep(SHORT)

    assert hook.ids == ["lost:0", "next:0"]


async def test_an_account_may_come_and_go(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url):
        await desk.open("alt")
        await asyncio.sleep(1.2)
        seq = await desk.trade(firing("a"), account="alt")
        await hook.until(1)
        await eventually(lambda: noted(desk, hook.url, "alt") >= seq)  # else it would be told once more
        await desk.close("alt")
        await desk.trade(firing("b"))
        await hook.until(2)
        await desk.open("alt")
        await desk.trade(resolved(firing("a")), account="alt")
        await hook.until(3)

    assert hook.ids == ["a:0", "b:0", "a:1"]


async def test_an_account_that_appears_begins_with_its_first_transition(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url) as rig:
        await asyncio.sleep(1.2)
        rig.alarms.attach(await desk.open("alt"))
        rig.alarms.fire("alt", "MARGIN_CALL", "reduce", severity="CRITICAL")
        rig.alarms.fire("alt", "LOW_BALANCE", "low")
        rig.alarms.resolve("alt", "LOW_BALANCE")
        await hook.until(3)
        await asyncio.sleep(SHORT)

    assert [title.split(" since")[0].split(" after")[0] for title in hook.titles] == [
        "CRITICAL alt MARGIN_CALL",
        "WARNING alt LOW_BALANCE",
        "RESOLVED alt LOW_BALANCE",
    ]


async def test_channels_are_taken_over_and_those_that_stay_go_on(desk: TradingDesk, hook: Webhook) -> None:
    async with webhook() as other, telling(desk, hook.url) as rig:
        rig.alarms.fire("main", "STREAM_STALE", "silent", symbol="a")
        await hook.until(1)
        await rig.serve(hook.url, other.url)
        await other.until(1)
        await desk.trade(firing("b"))
        await hook.until(2)
        await other.until(2)
        await rig.serve(other.url)
        await desk.trade(firing("c"))
        await other.until(3)
        await asyncio.sleep(SHORT)

    assert [title.split(" since")[0] for title in hook.titles] == [
        "WARNING main STREAM_STALE a",
        "WARNING main STREAM_STALE b",
    ]
    assert other.titles[0].startswith("STILL WARNING main STREAM_STALE a since")
    assert other.ids[1:] == ["b:0", "c:0"]


async def test_that_a_channel_fails_is_said_on_an_account_that_is_there(
    desk: TradingDesk, hook: Webhook, impatient: None
) -> None:
    async with webhook() as other, telling(desk, hook.url, other.url) as rig:
        rig.alarms.attach(await desk.open("alt"))
        await asyncio.sleep(1.2)
        hook.status = 503
        await desk.trade(firing("a"), account="alt")
        await eventually(lambda: [alarm.account for alarm in failures(rig.alarms)] == ["alt"], timeout_seconds=5)
        await desk.close("alt")
        rig.alarms.forget("alt")
        await eventually(lambda: [alarm.account for alarm in failures(rig.alarms)] == ["main"], timeout_seconds=5)
        hook.status = 200
        await other.until(4)

    assert [title.split(" since")[0].split(" after")[0] for title in other.titles] == [
        "WARNING alt STREAM_STALE a",
        "WARNING alt CHANNEL_FAILED json",
        "WARNING main CHANNEL_FAILED json",
        "RESOLVED main CHANNEL_FAILED json",
    ]


@pytest.mark.parametrize("restarts", [False, True], ids=["by reloads", "by restarts"])
async def test_a_channel_that_is_taken_back_begins_with_what_fires(
    desk: TradingDesk, hook: Webhook, restarts: bool
) -> None:
    async with webhook() as other:
        async with telling(desk, hook.url) as rig:
            rig.alarms.fire("main", "STREAM_STALE", "silent", symbol="told")
            await hook.until(1)
            await eventually(lambda: noted(desk, hook.url) > 1)
            if not restarts:
                await live_through_much(desk, rig, other)
                await rig.serve(hook.url)
                await hook.until(2)
        if restarts:
            await restart(desk)
            async with telling(desk) as rig:
                await live_through_much(desk, rig, other)
            await restart(desk)
            async with telling(desk, hook.url):
                await hook.until(2)
        await asyncio.sleep(SHORT)

    assert [post.title for post in hook.posts[1:]] == ["STILL 2 WARNING (main)"]


async def live_through_much(desk: TradingDesk, rig: Rig, other: Webhook) -> None:
    """Tell somebody else of a dozen alerts that are over, and of one that fires still."""
    await rig.serve(other.url)
    await asyncio.sleep(2.5)  # it was noted who is not told any more
    for number in range(12):
        await desk.trade(begin := firing(f"over{number}"), resolved(begin))
    rig.alarms.fire("main", "STREAM_STALE", "silent", symbol="still")
    await other.until(1)
    await eventually(lambda: any(alert.symbol == "still" for alert in desk.monitor().alerts))


async def test_an_account_that_comes_back_amid_a_reload_with_its_channel_repeats_nothing_there(
    desk: TradingDesk, hook: Webhook
) -> None:
    async with webhook() as other, telling(desk, hook.url) as rig:
        rig.alarms.attach(await desk.open("alt"))
        rig.alarms.fire("alt", "STREAM_STALE", "silent", symbol="told")
        await hook.until(1)
        await eventually(lambda: noted(desk, hook.url, "alt") > 1)
        await desk.close("alt")
        rig.alarms.forget("alt")
        await rig.serve(other.url)
        await asyncio.sleep(1.2)

        rig.is_changing = True
        rig.alarms.attach(await desk.open("alt"))
        await asyncio.sleep(2.5)  # the channels are taken over last
        await rig.serve(hook.url, other.url)
        rig.is_changing = False
        await asyncio.sleep(3 * SHORT)
        rig.alarms.fire("alt", "STREAM_STALE", "silent", symbol="new")
        await hook.until(2)

    assert [title.split()[3] for title in hook.titles] == ["told", "new"]


async def restart(desk: TradingDesk) -> None:
    await desk.close("main")
    await desk.open()


async def test_a_pager_is_told_of_what_is_critical_and_how_that_ends(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, f"critical={hook.url}") as rig:
        rig.alarms.fire("main", "STREAM_STALE", "silent", symbol="a")
        rig.alarms.fire("main", "RECONCILIATION_FAILED", "no answer")
        rig.alarms.fire("main", "RECONCILIATION_FAILED", "refused", severity="CRITICAL")
        rig.alarms.resolve("main", "STREAM_STALE", symbol="a")
        rig.alarms.resolve("main", "RECONCILIATION_FAILED")
        await hook.until(2)
        await asyncio.sleep(SHORT)

    assert [title.split()[:3] for title in hook.titles] == [
        ["CRITICAL", "main", "RECONCILIATION_FAILED"],
        ["RESOLVED", "main", "RECONCILIATION_FAILED"],
    ]


@pytest.mark.usefixtures("impatient")
async def test_a_channel_that_is_taken_away_fails_no_longer(desk: TradingDesk, hook: Webhook) -> None:
    async with telling(desk, hook.url) as rig:
        hook.status = 500
        await desk.trade(firing("a"))
        await eventually(lambda: bool(failing(rig)), timeout_seconds=5)
        await rig.serve()
        await eventually(lambda: failing(rig) == [], timeout_seconds=5)


async def test_an_outage_that_outlasts_the_process_is_summed_up_by_the_next(
    desk: TradingDesk, hook: Webhook, impatient: None
) -> None:
    async with telling(desk, hook.url) as rig:
        hook.status = 500
        alerts: list[Alert] = [firing(f"S{number}") for number in range(12)]
        await desk.trade(*alerts)
        await eventually(lambda: bool(failing(rig)), timeout_seconds=5)
    hook.status = 200
    await desk.close("main")
    await desk.open()
    async with telling(desk, hook.url) as rig:
        await hook.until(1)
        await eventually(lambda: failing(rig) == [], timeout_seconds=5)

    assert hook.titles[0] == "12 WARNING (main)"

"""Access: whom a token lets in, how floods are answered, and that memory is bounded."""

from __future__ import annotations

import asyncio

import pytest

from account_monitor.api.access import EVERYONE, MAX_FAILURES, MAX_GREETED, NOBODY, OpenAccess, TokenAccess
from account_monitor.api.flood import Attempts, Pace
from account_monitor.api.origin import is_this_machine, origin_of
from account_monitor.api.problems import FORBIDDEN, TOO_MANY_REQUESTS, UNAUTHENTICATED, Kind, Refused
from account_monitor.tokens import Right, Token, TokenSet, new_token

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
HERE, THERE = "10.0.0.1", "10.0.0.2"


class Clock:
    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(name: str = "bot", right: Right = "read", **more: object) -> tuple[Token, str]:
    return new_token(name, right, now_ms=NOW_MS, by="ann", **more)  # type: ignore[arg-type]


def access_of(clock: Clock, *tokens: Token, **more: object) -> TokenAccess:
    return TokenAccess(TokenSet(tokens), clock=clock, monotonic=clock.monotonic, **more)  # type: ignore[arg-type]


def refused(access: TokenAccess, text: str | None, address: str = HERE) -> Refused:
    with pytest.raises(Refused) as refusal:
        access.caller(text, address)
    return refusal.value


def kind_of(access: TokenAccess, text: str | None, address: str = HERE) -> Kind:
    return refused(access, text, address).kind


# Who is let in


def test_a_token_tells_its_name_right_and_accounts(clock: Clock) -> None:
    token, text = made(right="operate", accounts=["main"])

    caller = access_of(clock, token).caller(text, HERE)

    assert (caller.name, caller.right, caller.accounts) == ("bot", "operate", frozenset({"main"}))
    assert caller.sees("main")
    assert not caller.sees("alt")


def test_none_wrong_expired_and_revoked_tokens_are_told_apart(clock: Clock) -> None:
    short, short_text = made("short", lifetime_ms=HOUR_MS)
    gone, gone_text = made("gone")
    access = access_of(clock, short, gone._replace(revoked_ms=NOW_MS))
    clock.ms += HOUR_MS

    details = [refused(access, text).detail for text in (None, "am_wrong", short_text, gone_text)]

    assert [detail.partition(":")[0] for detail in details] == [
        "no token", "the token is not known here", "token 'short' is expired", "token 'gone' is revoked",
    ]  # fmt: skip
    assert {kind: n for kind, n in access.refused.items() if n} == {
        "missing": 1,
        "unknown": 1,
        "expired": 1,
        "revoked": 1,
    }
    assert dict(refused(access, None).headers)[b"www-authenticate"].startswith(b"Bearer")


def test_no_tokens_at_all_let_nobody_in(clock: Clock) -> None:
    assert kind_of(access_of(clock), None) is UNAUTHENTICATED
    assert kind_of(access_of(clock), made()[1]) is UNAUTHENTICATED


def test_a_visitor_without_a_valid_token_is_nobody_and_sees_nothing(clock: Clock) -> None:
    token, text = made()
    access = access_of(clock, token)

    assert access.visitor(text, HERE).name == "bot"
    assert access.visitor(None, HERE) == access.visitor("wrong", HERE) == NOBODY
    assert not NOBODY.sees("main")
    assert access.refused["unknown"] == 1


def test_without_tokens_everyone_here_may_do_everything() -> None:
    caller = OpenAccess().caller(None, "127.0.0.1")

    caller.require("operate", "main")
    assert caller == EVERYONE


def test_rights_and_accounts_are_required(clock: Clock) -> None:
    token, text = made(accounts=["main"])
    caller = access_of(clock, token).caller(text, HERE)

    caller.require("read", "main")
    for wanted in (("operate", "main"), ("read", "alt")):
        with pytest.raises(Refused) as refusal:
            caller.require(*wanted)
        assert refusal.value.kind is FORBIDDEN


def test_the_first_use_from_each_address_is_told_once(clock: Clock) -> None:
    token, text = made()
    told: list[tuple[str, str | None]] = []
    access = access_of(clock, token, on_first_use=lambda token, address: told.append((token.name, address)))

    for address in (HERE, HERE, THERE, HERE):
        access.caller(text, address)

    assert told == [("bot", HERE), ("bot", THERE)]


def test_a_token_that_comes_from_everywhere_hides_no_other(clock: Clock) -> None:
    busy, its_text = made("busy")
    stolen, text = made("stolen")
    told: list[tuple[str, str | None]] = []
    access = TokenAccess(
        TokenSet([busy, stolen]), clock=clock, on_first_use=lambda token, address: told.append((token.name, address))
    )

    for number in range(2_000):
        access.caller(its_text, f"2001:db8::{number:x}")
    access.caller(its_text, "2001:db8::1")
    access.caller(text, THERE)

    assert len(told) == MAX_GREETED + 2
    assert told[-2:] == [("busy", None), ("stolen", THERE)]


# Streams


@pytest.mark.parametrize("what", ["revoked", "gone", "narrowed"])
async def test_what_was_let_in_ends_with_its_token(clock: Clock, what: str) -> None:
    token, text = made(right="operate")
    access = access_of(clock, token)
    caller = access.caller(text, HERE)
    ending = asyncio.create_task(access.ended(caller))
    await asyncio.sleep(0)
    assert access.is_valid(caller)
    now = {"revoked": [token._replace(revoked_ms=1)], "gone": [], "narrowed": [token._replace(right="read")]}[what]

    access.take(TokenSet(now))

    await asyncio.wait_for(ending, 1)
    assert not access.is_valid(caller)


async def test_what_was_let_in_ends_when_its_token_expires(clock: Clock) -> None:
    token, text = made(lifetime_ms=HOUR_MS)
    access = access_of(clock, token)
    ending = asyncio.create_task(access.ended(access.caller(text, HERE)))
    await asyncio.sleep(0)
    access.look()
    await asyncio.sleep(0)
    assert not ending.done()

    clock.ms += HOUR_MS
    access.look()

    await asyncio.wait_for(ending, 1)


async def test_another_token_that_comes_ends_nothing(clock: Clock) -> None:
    token, text = made()
    access = access_of(clock, token)
    ending = asyncio.create_task(access.ended(access.caller(text, HERE)))
    await asyncio.sleep(0)

    access.take(TokenSet([token, made("other")[0]]))
    await asyncio.sleep(0.01)

    assert not ending.done()
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    assert access._ends == {}


# Floods


def test_after_thirty_wrong_tokens_in_a_minute_an_address_is_told_to_wait(clock: Clock) -> None:
    token, text = made()
    access = access_of(clock, token)

    kinds = [kind_of(access, f"am_wrong{n}") for n in range(MAX_FAILURES + 1)]

    assert kinds == [UNAUTHENTICATED] * MAX_FAILURES + [TOO_MANY_REQUESTS]
    assert dict(refused(access, "wrong").headers)[b"retry-after"] == b"60"
    assert kind_of(access, "wrong", THERE) is UNAUTHENTICATED  # the others are not told to
    assert access.caller(text, HERE).name == "bot"  # and behind one address may be a whole desk
    clock.ms += 60_000
    assert kind_of(access, "wrong") is UNAUTHENTICATED


def test_who_shows_no_token_is_never_told_to_wait(clock: Clock) -> None:
    access = access_of(clock, made()[0])

    assert {kind_of(access, None) for _ in range(2 * MAX_FAILURES)} == {UNAUTHENTICATED}


def test_wrong_tokens_from_ever_new_addresses_take_bounded_memory(clock: Clock) -> None:
    attempts = Attempts(2, clock.monotonic, max_origins=10)

    for n in range(1000):
        attempts.fail(f"10.0.{n // 256}.{n % 256}")

    assert len(attempts) == 10
    assert attempts.fail("10.0.3.231") == 0.0  # the second of the youngest
    assert attempts.fail("10.0.3.231") == 60.0


def test_a_network_of_ipv6_is_one_origin() -> None:
    assert origin_of("2001:db8::1") == origin_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert origin_of("2001:db8:0:1::1") == "2001:db8:0:1::/64"
    assert origin_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert origin_of(HERE) == HERE
    assert origin_of("not:an:address") == "not:an:address"
    assert origin_of("fe80::1%eth0") == origin_of("fe80::2%eth1") == "fe80::/64"


def test_this_machine_is_known_by_every_form_of_its_address() -> None:
    assert all(is_this_machine(each) for each in ("127.0.0.1", "127.8.9.9", "::1", "::ffff:127.0.0.1"))
    assert not any(is_this_machine(each) for each in ("10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "unknown"))


def test_a_token_may_ask_so_often_a_second_and_a_burst_of_one_second(clock: Clock) -> None:
    token, text = made()
    other, other_text = made("other")
    access = access_of(clock, token, other, rate_per_second=10.0)

    for _ in range(10):
        access.caller(text, HERE)
    refusal = refused(access, text)

    assert refusal.kind is TOO_MANY_REQUESTS
    assert dict(refusal.headers)[b"retry-after"] == b"1"
    assert access.refused["rate"] == 1
    access.caller(text, THERE)
    access.caller(other_text, HERE)
    clock.ms += 101
    access.caller(text, HERE)
    assert kind_of(access, text) is TOO_MANY_REQUESTS


def test_a_network_of_ipv6_has_one_bucket_for_a_token(clock: Clock) -> None:
    pace = Pace(2.0, clock.monotonic)

    waits = [pace.wait("token", f"2001:db8::{n}") for n in range(1, 4)]

    assert waits == [0.0, 0.0, 0.5]
    assert pace.wait("token", "2001:db8:0:1::1") == 0.0


def test_buckets_take_bounded_memory(clock: Clock) -> None:
    pace = Pace(1.0, clock.monotonic, max_buckets=10)

    for n in range(100):
        pace.wait("token", str(n))

    assert len(pace) == 10


def test_refusals_are_taken_as_sums(clock: Clock) -> None:
    access = access_of(clock)
    for address in (HERE, HERE, THERE):
        refused(access, "wrong", address)
    refused(access, None, HERE)

    assert access.take_refusals() == ({"unknown": 3, "missing": 1}, [(HERE, 3), (THERE, 1)], [])
    assert access.take_refusals() == ({}, [], [])


def test_who_is_refused_with_a_token_that_was_valid_is_named_also_in_a_flood(clock: Clock) -> None:
    gone, gone_text = made("gone")
    access = access_of(clock, gone._replace(revoked_ms=NOW_MS))
    for _ in range(MAX_FAILURES + 2):
        refused(access, gone_text)

    assert access.take_refusals().names == [("gone", MAX_FAILURES + 2)]

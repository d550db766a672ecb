"""Money: what is refused, what is written, and that arithmetic is exact or loud."""

from __future__ import annotations

import asyncio
import decimal
import threading
from decimal import Decimal

import pytest

from account_monitor.ledger.money import decimal_from_text, divide, to_text

D = Decimal

TRAPPED = {
    decimal.Inexact, decimal.FloatOperation, decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow,
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1 ", " 1", "1\n", "1_000", "1,5", "1.", ".5", "+1", "--1", "1.2.3", "0x10", "1e", "e5", "1e5.0", "-",
        ".",
        "NaN", "nan", "sNaN", "-NaN", "NaN123", "Infinity", "-inf", "inf",
        "١٢٣", "1٣", "１", "²", "1e٣", "−1",
        "100000000000000000000", "1e20", "1e999", "1e9999", "1e999999", "0.000000000000000000001", "1e-21", "1e-30",
        "1234567890123456789012345678901234567890", "1\x00", "1e+-5",
    ],
)  # fmt: skip
def test_what_is_no_number_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        decimal_from_text(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", D(0)), ("-0", D(0)), ("-0.00", D(0)), ("0e999", D(0)), ("1.50", D("1.5")), ("-7", D(-7)), ("007", D(7)),
        ("1e5", D(100000)), ("1E-8", D("0.00000001")), ("1e19", D(10) ** 19),
        ("99999999999999999999.99999999999999999999", D("99999999999999999999.99999999999999999999")),
        ("0.00000000000000000001", D("1e-20")),
    ],
)  # fmt: skip
def test_what_is_a_number_is_read_exactly(text: str, number: Decimal) -> None:
    assert decimal_from_text(text) == number


def test_minus_zero_is_zero() -> None:
    assert not decimal_from_text("-0.0").is_signed()
    assert not decimal_from_text("-0e5").is_signed()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1E-8", "0.00000001"), ("1E+3", "1000"), ("100", "100"), ("1.500", "1.5"), ("-0", "0"), ("-0.000", "0"),
        ("0E-30", "0"), ("0E+5", "0"), ("-1E-20", "-0.00000000000000000001"), ("10.0", "10"), ("1E+20", "1" + "0" * 20),
    ],
)  # fmt: skip
def test_text_is_plain_and_without_trailing_zeros(number: str, text: str) -> None:
    assert to_text(D(number)) == text


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"),
    [
        ("1", "3", "0." + "3" * 30),
        ("2", "3", "0." + "6" * 29 + "7"),
        ("-2", "3", "-0." + "6" * 29 + "7"),
        ("1E-30", "2", "0"),  # a tie goes to the even neighbour
        ("3E-30", "2", "2E-30"),
        ("5E-30", "2", "2E-30"),
        ("1.00000000000000000000000000000000000000001E-30", "2", "1E-30"),
        ("0", "7", "0"),
    ],
)
def test_a_quotient_is_rounded_half_even_at_thirty_places(dividend: str, divisor: str, quotient: str) -> None:
    assert divide(D(dividend), D(divisor)) == D(quotient)


def test_dividing_by_zero_is_loud() -> None:
    with pytest.raises(decimal.DivisionByZero):
        divide(D(1), D(0))


def test_zero_by_zero_is_a_division_by_zero_too() -> None:
    with pytest.raises(decimal.DivisionByZero):
        divide(D(0), D(0))


def test_what_would_be_rounded_raises() -> None:
    with pytest.raises(decimal.Inexact):
        D(1) / D(3)


def test_floats_do_not_mix_in() -> None:
    with pytest.raises(decimal.FloatOperation):
        D(1) < 0.5  # noqa: B015  # the comparison is what raises
    with pytest.raises(decimal.FloatOperation):
        D(0.5)


def test_long_sums_and_products_are_exact() -> None:
    most = D("99999999999999999999.99999999999999999999")

    assert (most * most * most + D("1e-60")) - D("1e-60") - most * most * most == 0


def test_new_threads_trap_as_well() -> None:
    found: list[set[type]] = []

    def look() -> None:
        found.append({signal for signal, is_trapped in decimal.getcontext().traps.items() if is_trapped})

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [TRAPPED]


async def test_tasks_and_their_threads_trap_as_well() -> None:
    async def look() -> set[type]:
        await asyncio.sleep(0)
        return {signal for signal, is_trapped in decimal.getcontext().traps.items() if is_trapped}

    assert await asyncio.create_task(look()) == TRAPPED
    assert await asyncio.to_thread(lambda: decimal.getcontext().prec) == 400


def test_the_contexts_of_division_leak_no_rounding() -> None:
    divide(D(1), D(3))

    assert decimal.getcontext().rounding == decimal.ROUND_HALF_EVEN
    assert decimal.getcontext().traps[decimal.Inexact]

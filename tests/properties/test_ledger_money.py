"""Division and text, for all kinds of operands, against whole numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.money import decimal_from_text, divide, to_text
from tests.properties.test_ledger_inputs import bounded, positive, signed

D = Decimal

PLACES = 30

wide = st.builds(
    lambda digits, exponent: D(digits).scaleb(exponent), st.integers(-(10**70), 10**70), st.integers(-90, 40)
)
long = st.builds(lambda n, k: D(n).scaleb(-k), st.integers(-(10**150), 10**150), st.integers(0, 100))
operands = st.one_of(signed, wide, long, st.integers(-1000, 1000).map(D))


def half_even(dividend: Decimal, divisor: Decimal) -> int:
    """Return the quotient in units of 1e-30, from whole numbers alone."""
    top, bottom = dividend.as_integer_ratio(), divisor.as_integer_ratio()
    numerator, denominator = top[0] * bottom[1] * 10**PLACES, top[1] * bottom[0]
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    whole, rest = divmod(numerator, denominator)
    is_up = 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)
    return int(whole + is_up)


@bounded
@given(operands, operands.filter(bool))
def test_divide_is_the_half_even_quotient_of_whole_numbers(dividend: Decimal, divisor: Decimal) -> None:
    assert int(divide(dividend, divisor).scaleb(PLACES)) == half_even(dividend, divisor)


@bounded
@given(st.integers(-(10**60), 10**60), st.sampled_from([2, 4, 5, 8, 16, 20, 64]), st.integers(0, 30))
def test_divide_keeps_ties_and_near_ties(units: int, divisor: int, exponent: int) -> None:
    for nudge in (D(0), D("1e-120"), D("-1e-120")):
        dividend = D(units).scaleb(-PLACES) + nudge
        assert int(divide(dividend, D(divisor)).scaleb(PLACES)) == half_even(dividend, D(divisor))
        assert int(divide(dividend, D(divisor).scaleb(exponent)).scaleb(PLACES)) == half_even(
            dividend, D(divisor).scaleb(exponent)
        )


@bounded
@given(signed, st.integers(0, 25))
def test_equal_numbers_have_equal_text_that_reads_back(number: Decimal, zeros: int) -> None:
    text = f"{number:f}"
    longer = D(text + "0" * zeros if "." in text else text + "." + "0" * (zeros + 1))

    assert longer == number
    assert to_text(longer) == to_text(number)
    assert decimal_from_text(to_text(number)) == number
    assert "E" not in to_text(number).upper()


@bounded
@given(st.text(max_size=12))
def test_any_text_is_a_number_of_ours_or_refused(text: str) -> None:
    try:
        number = decimal_from_text(text)
    except ValueError:
        return
    assert number.is_finite()
    assert text.isascii()
    assert abs(number) < D(10) ** 20


@bounded
@given(st.text("0123456789.eE+-_ nNaAiIfF٣", max_size=14))
def test_what_looks_like_a_number_is_read_as_python_does_or_refused(text: str) -> None:
    try:
        number = decimal_from_text(text)
    except ValueError:
        return
    assert number == D(text)
    assert number * 10**20 == (number * 10**20).to_integral_value()


@bounded
@given(positive, positive, positive)
def test_a_released_cost_never_needs_more_digits_than_there_are(a: Decimal, b: Decimal, c: Decimal) -> None:
    assert divide(a * b * c, c) == divide(a * b, D(1))


@pytest.mark.parametrize("operand", ["1E+70", "-1E-90", "99999999999999999999.99999999999999999999"])
def test_dividing_by_itself_is_one(operand: str) -> None:
    assert divide(D(operand), D(operand)) == 1

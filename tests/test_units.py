"""Quantities at the edge: what a text means in SI, and how an SI value is printed."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genz import units
from genz.errors import GenZError, UnitError
from genz.units import (
    BANDWIDTH,
    BYTES,
    CARBON,
    COMPUTE,
    DIMENSIONS,
    ENERGY,
    ENERGY_PER_BYTE,
    ENERGY_PER_FLOP,
    ENERGY_PRICE,
    FREQUENCY,
    MONEY,
    POWER,
    PRICE_RATE,
    TIME,
    Dimension,
    format_bytes,
    format_count,
    format_si,
    is_quantity,
    parse,
)  # isort: skip

# Worked by hand.
TABLE: list[tuple[str, Dimension, float]] = [
    ("80 GB", BYTES, 80e9),
    ("80 GiB", BYTES, 85_899_345_920),
    ("1 KiB", BYTES, 1024),
    ("1 MiB", BYTES, 1_048_576),
    ("81559 MiB", BYTES, 85_520_809_984),
    ("1 TiB", BYTES, 1_099_511_627_776),
    ("1 PiB", BYTES, 1_125_899_906_842_624),
    ("1 kB", BYTES, 1000),
    ("1 KB", BYTES, 1000),
    ("8 bit", BYTES, 1),
    ("8 Gb", BYTES, 1e9),
    ("8 Gib", BYTES, 2**30),
    ("1 Mbit", BYTES, 125_000),
    ("3 bytes", BYTES, 3),
    ("1 byte", BYTES, 1),
    ("1 EB", BYTES, 1e18),
    ("3.35 TB/s", BANDWIDTH, 3.35e12),
    ("3.35TB/s", BANDWIDTH, 3.35e12),
    ("400 Gbit/s", BANDWIDTH, 50e9),
    ("400 Gb/s", BANDWIDTH, 50e9),
    ("400 Gbps", BANDWIDTH, 50e9),
    ("400 GBps", BANDWIDTH, 400e9),
    ("1 GiB/s", BANDWIDTH, 2**30),
    ("1,000 MB/s", BANDWIDTH, 1e9),
    ("1_000 MB/s", BANDWIDTH, 1e9),
    ("1e3 MB/s", BANDWIDTH, 1e9),
    ("+1.5E3 MB/s", BANDWIDTH, 1.5e9),
    (".5 MB/s", BANDWIDTH, 0.5e6),
    ("5. MB/s", BANDWIDTH, 5e6),
    ("  5   MB/s  ", BANDWIDTH, 5e6),
    ("-1 B/s", BANDWIDTH, -1.0),
    ("989.4 TFLOP/s", COMPUTE, 989.4e12),
    ("989.4 TFLOPS", COMPUTE, 989.4e12),
    ("1.98 PFLOP/s", COMPUTE, 1.98e15),
    ("624 TOP/s", COMPUTE, 624e12),
    ("624 TOPS", COMPUTE, 624e12),
    ("700 W", POWER, 700),
    ("0.7 kW", POWER, 700),
    ("500 mW", POWER, 0.5),
    ("1.2 kJ", ENERGY, 1200),
    ("1 kWh", ENERGY, 3.6e6),
    ("0.5 pJ/FLOP", ENERGY_PER_FLOP, 0.5e-12),
    ("500 fJ/OP", ENERGY_PER_FLOP, 0.5e-12),
    ("1 pJ/bit", ENERGY_PER_BYTE, 8e-12),
    ("3.9 pJ/b", ENERGY_PER_BYTE, 31.2e-12),
    ("31.2 pJ/B", ENERGY_PER_BYTE, 31.2e-12),
    ("30 ms", TIME, 0.03),
    ("2 us", TIME, 2e-6),
    ("2 µs", TIME, 2e-6),
    ("2 μs", TIME, 2e-6),
    ("5 ns", TIME, 5e-9),
    ("5 min", TIME, 300),
    ("1 h", TIME, 3600),
    ("2 years", TIME, 2 * 31_557_600),
    ("1830 MHz", FREQUENCY, 1.83e9),
    ("25000 USD", MONEY, 25000),
    ("25,000 $", MONEY, 25000),
    ("3.6 USD/h", PRICE_RATE, 0.001),
    ("7.2 $/h", PRICE_RATE, 0.002),
    ("0.36 USD/kWh", ENERGY_PRICE, 1e-7),
    ("360 g/kWh", CARBON, 1e-4),
    ("0.36 kg/kWh", CARBON, 1e-4),
]


@pytest.mark.parametrize(("text", "dimension", "value"), TABLE, ids=[row[0] for row in TABLE])
def test_hand_worked_quantities(text: str, dimension: Dimension, value: float) -> None:
    assert parse(text, dimension) == pytest.approx(value, rel=1e-15, abs=0)


def test_decimal_and_binary_prefixes_differ() -> None:
    assert parse("1 GB", BYTES) == 1e9
    assert parse("1 GiB", BYTES) == 2**30
    assert parse("1 GB", BYTES) / parse("1 Gb", BYTES) == 8


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda d: d.name)
def test_the_example_of_an_error_is_itself_allowed(dimension: Dimension) -> None:
    assert parse(dimension.example, dimension) > 0
    assert is_quantity(dimension.example)


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda d: d.name)
def test_si_symbol_has_factor_one(dimension: Dimension) -> None:
    assert parse(f"1.5 {dimension.symbol}", dimension) == 1.5


REFUSED: list[tuple[Any, Dimension, str]] = [
    ("3.35 TB", BANDWIDTH, "did you mean 'TB/s'"),
    ("989 TFLOP", COMPUTE, "did you mean 'TFLOP/s'"),
    ("3.35 TB/s", BYTES, "did you mean 'TB'"),
    ("80 gb", BYTES, "did you mean 'GB'"),
    ("500 mb/s", BANDWIDTH, "did you mean 'MB/s'"),  # millibits are no unit of a bandwidth
    ("1 mW", BYTES, "unit"),
    ("3,35 TB/s", BANDWIDTH, "unit"),  # no decimal comma: it would be 335
    ("1,0000 B/s", BANDWIDTH, "unit"),
    ("1__0 B/s", BANDWIDTH, "unit"),
    ("1e B/s", BANDWIDTH, "unit"),
    ("3.35", BANDWIDTH, "has no unit"),
    (3.35, BANDWIDTH, "has no unit"),
    (-3, BANDWIDTH, "has no unit"),
    ("", BANDWIDTH, "is not a bandwidth"),
    ("TB/s", BANDWIDTH, "is not a bandwidth"),
    (".", BANDWIDTH, "is not a bandwidth"),
    ("nan TB/s", BANDWIDTH, "is not a bandwidth"),
    ("inf TB/s", BANDWIDTH, "is not a bandwidth"),
    ("−3 TB/s", BANDWIDTH, "is not a bandwidth"),
    ("1e400 TB/s", BANDWIDTH, "is not finite"),
    ("1e300 TB/s", BANDWIDTH, "is not finite"),
    (True, BANDWIDTH, "is not a bandwidth"),
    (None, BANDWIDTH, "is not a bandwidth"),
    ([1], BANDWIDTH, "is not a bandwidth"),
    ({"value": "1 B/s"}, BANDWIDTH, "is not a bandwidth"),
    (b"1 B/s", BANDWIDTH, "is not a bandwidth"),
    ("1 k$", MONEY, "unit"),
    ("1 MiW", POWER, "unit"),
]


@pytest.mark.parametrize(("text", "dimension", "words"), REFUSED, ids=lambda v: v.name if isinstance(v, Dimension) else repr(v))
def test_refused_quantities(text: Any, dimension: Dimension, words: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(text, dimension, field="the.field")
    error = caught.value
    assert words in str(error)
    assert error.field == "the.field" and str(error).startswith("the.field: ")
    assert repr(text) in str(error)
    assert error.allowed is not None and dimension.example in error.allowed


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 10**400], ids=["nan", "inf", "-inf", "10^400"])
def test_numbers_that_are_not_finite_are_refused_where_no_unit_is_needed(number: float) -> None:
    with pytest.raises(UnitError, match="is not finite"):
        parse(number, BYTES, needs_unit=False)


def test_bare_numbers_are_si_where_no_unit_is_needed() -> None:
    assert parse(3, BYTES, needs_unit=False) == 3.0
    assert parse("3", BYTES, needs_unit=False) == 3.0
    assert isinstance(parse(3, BYTES, needs_unit=False), float)


def test_zero_needs_no_unit() -> None:
    assert parse(0, POWER) == 0.0
    assert parse("0", POWER) == 0.0


@given(st.floats(-1e15, 1e15), st.sampled_from(["B", "kB", "GB", "TB", "MiB", "TiB", "Gbit"]))
def test_the_number_before_a_unit_is_read_exactly(number: float, unit: str) -> None:
    assert parse(f"{number!r} {unit}", BYTES) == pytest.approx(number * parse(f"1 {unit}", BYTES), rel=1e-15, abs=0)


@given(st.text(max_size=20))
def test_any_text_gives_a_finite_number_or_a_typed_error(text: str) -> None:
    for dimension in DIMENSIONS:
        try:
            value = parse(text, dimension)
        except GenZError:
            continue
        assert math.isfinite(value)


@given(st.floats(1e-14, 1e20) | st.floats(-1e20, -1e-14), st.integers(3, 9))
def test_printing_and_reading_returns_the_value_to_its_digits(value: float, digits: int) -> None:
    text = format_si(value, "J", digits=digits)
    assert parse(text, ENERGY) == pytest.approx(value, rel=0.51 * 10.0 ** (1 - digits))


@given(st.floats(1, 1e18))
def test_bytes_are_read_back_as_printed(value: float) -> None:
    assert parse(format_bytes(value), BYTES) == pytest.approx(value, rel=0.51e-3)


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(1, 17))
def test_printing_never_fails_and_stays_short(value: float, digits: int) -> None:
    text = format_si(value, "B", digits=digits)
    assert text.endswith("B") and len(text) <= digits + 12


PRINTED: list[tuple[float, int, str]] = [
    (3.35e12, 3, "3.35 TB/s"),
    (999.96, 3, "1 kB/s"),
    (999.96, 5, "999.96 B/s"),
    (999.4, 3, "999 B/s"),
    (-999.96, 3, "-1 kB/s"),
    (0, 3, "0 B/s"),
    (-0.0, 3, "0 B/s"),
    (-1.5e9, 3, "-1.5 GB/s"),
    (1.2e-3, 3, "1.2 mB/s"),
    (1e-15, 3, "1 fB/s"),
    (1e-20, 3, "1e-20 B/s"),
    (5e-324, 3, "4.94e-324 B/s"),
    (9.999e20, 3, "1000 EB/s"),
    (1e300, 3, "1e+300 B/s"),
    (1, 3, "1 B/s"),
    (123.456, 3, "123 B/s"),
    (12.3456, 3, "12.3 B/s"),
    (100, 3, "100 B/s"),
    (100e9, 3, "100 GB/s"),
    (math.inf, 3, "inf B/s"),
    (math.nan, 3, "nan B/s"),
]


@pytest.mark.parametrize(("value", "digits", "text"), PRINTED, ids=[f"{row[0]!r}-{row[1]}" for row in PRINTED])
def test_printed_values(value: float, digits: int, text: str) -> None:
    assert format_si(value, "B/s", digits=digits) == text


def test_a_unit_may_be_left_out_when_printing() -> None:
    assert format_si(2.0e3, "") == "2 k"
    assert format_si(2.0, "") == "2"


COUNTS = [
    (70.6e9, "70.6 B"),
    (1.03e12, "1.03 T"),
    (999_999, "1 M"),
    (7_241_732_096, "7.242 B"),
    (124e6, "124 M"),
    (999, "999"),
    (-2e9, "-2 B"),
    (0, "0"),
]


@pytest.mark.parametrize(("value", "text"), COUNTS, ids=[row[1] for row in COUNTS])
def test_large_counts_are_printed_as_people_do(value: float, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize("text", ["3.35 TB/s", "3.35TB/s", "3", "+3 W", "-1 us", ".5 W", "1e9", "8192", "0.10 USD/kWh"])
def test_texts_that_are_quantities(text: str) -> None:
    assert is_quantity(text)


@pytest.mark.parametrize("text", ["", "hbm3", "n4", "5nm", "3d-torus", "8x h100", "gpu", "2024-01-01", "infinity"])
def test_texts_that_are_none(text: str) -> None:
    assert not is_quantity(text)


def test_every_dimension_is_listed() -> None:
    declared = [value for value in vars(units).values() if isinstance(value, Dimension)]
    assert sorted(d.name for d in declared) == sorted(d.name for d in DIMENSIONS)

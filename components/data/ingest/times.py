"""Times as shops write them -> UTC microseconds: epoch seconds, milli-, micro-, nanoseconds, YYYYMMDD, ISO 8601.

A unit holds for a whole column. Where some values make sense in one unit and some in another (seconds among
milliseconds), none of them can be trusted to stand in order, and the column is refused with the counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from components.data.canonical.tables import TIMESTAMP, RawFile
from components.data.ingest import ids
from components.errors import BadInput

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Nothing that a shop records is older; `latest` is tomorrow."""
_YEARS = (631_152_000, 4_102_444_800)
"""1990-01-01 and 2100-01-01 in epoch seconds: what is within, in a unit, is a time in that unit."""
_EPOCHS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_SPOKEN = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_CALENDAR = {8: ("%Y%m%d", "YYYYMMDD"), 12: ("%Y%m%d%H%M", "YYYYMMDDHHMM"), 14: ("%Y%m%d%H%M%S", "YYYYMMDDHHMMSS")}
"""Digits of a whole number -> how it spells a date."""
# Median of the numbers -> how many of them make a second. 1e11 s is the year 5138, 1e11 ms is 1973.
_UNITS = ((1e11, "s", 1), (1e14, "ms", 1_000), (1e17, "us", 1_000_000), (float("inf"), "ns", 1_000_000_000))
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_ZONE = r"(?i)(?:z|[+-]\d\d:?\d\d)$"
_CLOCK = r"(\d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?|[T ]\d\d)"
"""The end of a time of day; an offset stands only behind one (2020-09-13 ends in no offset)."""
_ORDINAL = re.compile(r"^(\d{4})-?(\d{3})(?!\d)(.*)$")
_LOOKS = r"\d{1,4}\s*[-/.:]\s*\d{1,2}\s*[-/.:]\s*\d{1,4}|\d{1,2}:\d{2}|\d{4}-?W\d\d|\b\d{4}\b|^\d{8,}"
_MONTH = r"(?i)\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"


def latest() -> datetime:
    """Tomorrow: nothing that a shop has recorded is later."""
    return datetime.now(UTC) + timedelta(days=1)


def looks_like_times(values: pl.Series) -> bool:
    """Whether most of what stands in a text column has the look of a date, readable or not."""
    if values.dtype.is_temporal():
        return True
    text = values.drop_nulls().cast(pl.String).str.strip_chars()
    text = text.filter(text != "")
    looks = text.str.contains(_LOOKS) | (text.str.contains(_MONTH) & text.str.contains(r"\d"))
    return len(text) > 0 and int(looks.sum()) * 2 > len(text)


def to_utc(values: pl.Series, file: RawFile) -> tuple[pl.Series, str]:
    """Timestamps (UTC, microseconds; empty -> null) and the unit they came in.

    Units: s, ms, us, ns, YYYYMMDD and longer, iso, date, datetime, none. A time without an offset is taken as UTC.
    Raises `BadInput` naming the rows that are none of these, or with the counts where units are mixed.
    """
    if values.dtype.is_temporal():
        return _from_temporal(values), "date" if values.dtype == pl.Date else "datetime"
    text = values.cast(pl.String).str.strip_chars()
    whole = text.cast(pl.Int64, strict=False)
    if whole.null_count() > text.null_count():  # some are not whole numbers: look closer
        text = text.set(text.str.to_lowercase().is_in(ids.MISSING), None)
    if text.null_count() == len(text):
        return pl.Series(values.name, [None] * len(text), dtype=TIMESTAMP), "none"
    numbers = text.cast(pl.Float64, strict=False).fill_nan(None)
    if numbers.null_count() * 2 <= len(numbers) + text.null_count():  # most of what stands there is a number
        return _from_numbers(text, numbers, file)
    times = _from_iso(text)
    _refuse(times.is_null() & text.is_not_null(), text, "neither epoch times nor ISO 8601 in UTC or an offset", file)
    return times, "iso"


def _from_numbers(text: pl.Series, numbers: pl.Series, file: RawFile) -> tuple[pl.Series, str]:
    _refuse(numbers.is_null() & text.is_not_null(), text, "not a number, as the other times are", file)
    _refuse_shortened(text, file)
    units = _unit_of(numbers)
    spelled = units.drop_nulls().unique().to_list()
    _refuse_mixed(units, spelled, numbers, text, file)
    if spelled and spelled[0] in _BY_NAME:
        return _from_calendar(text, spelled[0], file), spelled[0]
    middle = numbers.abs().median()
    assert isinstance(middle, float)
    unit, per_second = next((unit, per) for limit, unit, per in _UNITS if middle < limit)
    outside = (numbers < 0) | (numbers / per_second > _YEARS[1])
    _refuse(outside.fill_null(False), text, f"not between 1970 and 2100 when read as epoch {unit}", file)
    # Whole numbers stay exact: a float holds microseconds since 1970 only up to the year 2255, nanoseconds not at all.
    whole = text.cast(pl.Int64, strict=False)
    exact = (whole // (per_second // 1_000_000)) if per_second > 1_000_000 else whole * (1_000_000 // per_second)
    rough = (numbers * (1_000_000 / per_second)).round().cast(pl.Int64)
    return exact.zip_with(whole.is_not_null(), rough).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), unit


_BY_NAME = {name: form for form, name in _CALENDAR.values()}


def _unit_of(numbers: pl.Series) -> pl.Series:
    """The one unit in which a number is a time between 1990 and 2100; null where there is none."""
    value = pl.col("value")
    cases = [
        pl.when(value.is_between(low * per, high * per)).then(pl.lit(unit))
        for unit, per in _EPOCHS.items()
        for low, high in [_YEARS]
    ]
    for digits, (_, name) in _CALENDAR.items():
        power = 10.0 ** (digits - 8)
        whole = value == value.floor()
        within = value.is_between(19900101 * power, 21000101 * power)
        month, day = (value / power // 100) % 100, (value / power // 1) % 100
        cases.append(pl.when(whole & within & month.is_between(1, 12) & day.is_between(1, 31)).then(pl.lit(name)))
    return numbers.alias("value").to_frame().select(pl.coalesce(cases)).to_series()


def _refuse_mixed(units: pl.Series, spelled: list[str], numbers: pl.Series, text: pl.Series, file: RawFile) -> None:
    """Two units in one column, or 0 in place of a missing time among real ones."""
    zero = (numbers == 0).fill_null(False)
    if len(spelled) < 2 and not (spelled and zero.any()):
        return
    counts = units.value_counts(sort=True).drop_nulls()
    common = counts[0, 0]
    found = [f"{count:,} in {_spoken(unit)}" for unit, count in counts.iter_rows()]
    if zero.any():
        found.append(f"{int(zero.sum()):,} are 0")
    other = (units.is_not_null() & (units != common)) | zero
    rows = other.arg_true().head(10).to_list()
    raise BadInput(
        f"timestamps of different kinds in one column: {', '.join(found)}; {_listed(rows, text, file)}",
        where=f"{file.shown}, column {text.name}",
        mend="write all times in one unit, and leave those empty that are not known: the order of a history is read "
        "from them",
    )


def _spoken(unit: str) -> str:
    return f"epoch {_SPOKEN[unit]}" if unit in _SPOKEN else f"the form {unit}"


def _refuse_shortened(text: pl.Series, file: RawFile) -> None:
    """`1.60074E+12`: a spreadsheet has left six digits, which is a time to the hour or to the day."""
    short = text.str.contains(r"^[+-]?\d(?:\.\d+)?[eE]\+?\d+$").fill_null(False)
    if not short.any():
        return
    digits = text.filter(short).str.extract(r"^[+-]?(\d(?:\.\d+)?)").str.len_chars()
    if int(digits.max()) <= 8:  # type: ignore[arg-type]
        _refuse(short, text, "in scientific notation, with digits lost", file)


def _from_calendar(text: pl.Series, name: str, file: RawFile) -> pl.Series:
    digits = text.cast(pl.Float64, strict=False).cast(pl.Int64).cast(pl.String)
    times = digits.str.to_datetime(_BY_NAME[name], time_unit="us", strict=False).dt.replace_time_zone("UTC")
    _refuse(times.is_null() & text.is_not_null(), text, f"not dates in the form {name}, as the others are", file)
    return times


def _from_iso(text: pl.Series) -> pl.Series:
    """The common forms at once; whatever is left, each different text once."""
    spaced = text.str.replace("[tT]", " ")
    spaced = spaced.str.replace(r"(?i)\s*(?:utc|gmt)$", "Z")
    spaced = spaced.str.replace(_CLOCK + r"\s*([+-]\d\d)$", "${1}${2}:00").str.replace(
        _CLOCK + r"\s+([+-]\d\d)", "$1$2"
    )
    zoned = spaced.str.contains(r"\d\d:\d\d.*" + _ZONE)
    frame = pl.DataFrame({"plain": spaced.set(zoned, None), "zoned": spaced.zip_with(zoned, spaced.clear(len(text)))})
    naive = [
        pl.col("plain").str.to_datetime(form, time_unit="us", strict=False).dt.replace_time_zone("UTC") for form in _ISO
    ]
    aware = pl.col("zoned").str.replace(r"\s*[zZ]$", "+00:00")
    aware = aware.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", time_unit="us", strict=False)
    times = frame.select(pl.coalesce([*naive, aware.dt.convert_time_zone("UTC")])).to_series().alias(text.name)
    left = text.filter(times.is_null() & text.is_not_null()).unique()
    if left.is_empty():
        return times
    known = {value: moment for value in left.to_list() if (moment := _one(value)) is not None}
    if not known:
        return times
    others = text.replace_strict(list(known), list(known.values()), default=None, return_dtype=TIMESTAMP)
    return times.zip_with(times.is_not_null(), others)


def _one(text: str) -> datetime | None:
    """One time in the rarer forms: basic, week and ordinal dates, decimal commas, year-first slashes, `[Europe/Paris]`.

    Only what can be read in one way is: a zone by its name (CET) and a date that begins with a day are not.
    """
    plain = re.sub(r"(?<=[\dzZ])\[[\w/+-]+\]$", "", text.strip())
    plain = re.sub(r"(?i)\s*(?:utc|gmt)$", "Z", plain).upper()
    plain = re.sub(r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})(?!\d)", _padded, plain)
    if ordinal := _ORDINAL.match(plain):
        year, day, rest = ordinal.groups()
        if not 1 <= int(day) <= 366:
            return None
        plain = f"{datetime(int(year), 1, 1) + timedelta(days=int(day) - 1):%Y-%m-%d}{rest}"
    plain = re.sub(r"\s+(?=[+-]\d\d|Z$)", "", plain).replace(",", ".")
    midnight = re.sub(r"(?<=[T ])24(?=(:?00){0,2}(\.0+)?(Z|[+-]|$))", "00", plain)  # 24:00 ends its day
    try:
        found = datetime.fromisoformat(midnight) + timedelta(days=int(midnight != plain))
    except (ValueError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _padded(date: re.Match[str]) -> str:
    return f"{date[1]}-{int(date[2]):02}-{int(date[3]):02}"


def _from_temporal(values: pl.Series) -> pl.Series:
    times = values.cast(pl.Datetime("us")) if values.dtype == pl.Date else values.dt.cast_time_unit("us")
    zone = getattr(times.dtype, "time_zone", None)
    return times.dt.convert_time_zone("UTC") if zone else times.dt.replace_time_zone("UTC")


def _listed(rows: Sequence[int], text: pl.Series, file: RawFile) -> str:
    return ", ".join(f"{file.row(row)}: {text[row]!r}" for row in rows)


def _refuse(wrong: pl.Series, text: pl.Series, why: str, file: RawFile) -> None:
    rows = wrong.arg_true()
    if len(rows):
        raise BadInput(
            f"{len(rows):,} timestamps are {why}: {_listed(rows.head(10).to_list(), text, file)}",
            where=f"{file.shown}, column {text.name}",
            mend="write them as ISO 8601 (2020-09-13T02:37:58Z) or epoch seconds, or leave empty what is not known",
        )

"""Times as shops write them -> UTC microseconds: epoch seconds, milli-, micro-, nanoseconds, ISO 8601."""

from __future__ import annotations

import polars as pl

from components.data.canonical.tables import TIMESTAMP, RawFile
from components.data.ingest import ids
from components.errors import BadInput

# Median of the numbers -> how many of them make a second. 1e11 s is the year 5138, 1e11 ms is 1973.
_UNITS = ((1e11, "s", 1), (1e14, "ms", 1_000), (1e17, "us", 1_000_000), (float("inf"), "ns", 1_000_000_000))
_LATEST = 4_102_444_800  # 2100-01-01 in epoch seconds: what lies beyond was written in another unit
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_OFFSET = r"(?:[zZ]|[+-]\d\d:?\d\d)$"


def to_utc(values: pl.Series, file: RawFile) -> tuple[pl.Series, str]:
    """Timestamps (UTC, microseconds; empty -> null) and the unit they came in.

    Units: s, ms, us, ns, iso, date, datetime, none. A time without an offset is taken as UTC. Raises `BadInput` naming
    the rows that are none of these.
    """
    if values.dtype.is_temporal():
        return _from_temporal(values), "date" if values.dtype == pl.Date else "datetime"
    text = values.cast(pl.String).str.strip_chars()
    whole = text.cast(pl.Int64, strict=False)
    if whole.null_count() > text.null_count():  # some are not whole numbers: look closer
        text = text.set(text.str.to_lowercase().is_in(ids.MISSING), None)
    if text.null_count() == len(text):
        return pl.Series(values.name, [None] * len(text), dtype=TIMESTAMP), "none"
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() * 2 <= len(numbers) + text.null_count():  # most of what stands there is a number
        return _from_numbers(text, numbers, file)
    times = _from_iso(text)
    _refuse(times.is_null() & text.is_not_null(), text, "neither epoch seconds nor an ISO 8601 time", file)
    return times, "iso"


def _from_numbers(text: pl.Series, numbers: pl.Series, file: RawFile) -> tuple[pl.Series, str]:
    _refuse(numbers.is_null() & text.is_not_null(), text, "not a number, as the other times are", file)
    middle = numbers.abs().median()
    assert isinstance(middle, float)
    unit, per_second = next((unit, per) for limit, unit, per in _UNITS if middle < limit)
    outside = (numbers < 0) | (numbers / per_second > _LATEST)
    _refuse(outside.fill_null(False), text, f"not between 1970 and 2100 when read as epoch {unit}", file)
    # Whole numbers stay exact: a float holds microseconds since 1970 only up to the year 2255, nanoseconds not at all.
    whole = text.cast(pl.Int64, strict=False)
    exact = (whole // (per_second // 1_000_000)) if per_second > 1_000_000 else whole * (1_000_000 // per_second)
    rough = (numbers * (1_000_000 / per_second)).round().cast(pl.Int64)
    return exact.zip_with(whole.is_not_null(), rough).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), unit


def _from_iso(text: pl.Series) -> pl.Series:
    spaced = text.str.replace("[tT]", " ")
    zoned = spaced.str.contains(_OFFSET)
    frame = pl.DataFrame({"plain": spaced.set(zoned, None), "zoned": spaced.zip_with(zoned, spaced.clear(len(text)))})
    naive = [
        pl.col("plain").str.to_datetime(form, time_unit="us", strict=False).dt.replace_time_zone("UTC") for form in _ISO
    ]
    aware = pl.col("zoned").str.replace("[zZ]$", "+00:00")
    aware = aware.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", time_unit="us", strict=False)
    return frame.select(pl.coalesce([*naive, aware.dt.convert_time_zone("UTC")])).to_series().alias(text.name)


def _from_temporal(values: pl.Series) -> pl.Series:
    times = values.cast(pl.Datetime("us")) if values.dtype == pl.Date else values.dt.cast_time_unit("us")
    zone = getattr(times.dtype, "time_zone", None)
    return times.dt.convert_time_zone("UTC") if zone else times.dt.replace_time_zone("UTC")


def _refuse(wrong: pl.Series, text: pl.Series, why: str, file: RawFile) -> None:
    rows = wrong.arg_true()
    if len(rows):
        shown = ", ".join(f"row {row + 1}: {text[row]!r}" for row in rows.head(10).to_list())
        raise BadInput(
            f"{len(rows):,} timestamps are {why}: {shown}",
            where=f"{file.shown}, column timestamp",
            mend="correct them, or leave them empty where the time is not known",
        )

"""Read a Parquet artifact that another stage wrote; one that is missing or damaged is a `BadInput`, not a traceback.

    table = read(layout.items_clean, ["item_id", "text"])       # pl.DataFrame(table) where Polars goes on

pyarrow, since Polars panics on some damaged files, which no caller can catch decently. Big tables that are scanned
lazily have their own reader (`data.coded`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import BadInput

_MEND = "run the stage that writes it: dvc repro"


def read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The `columns` of the file (None: all), in that order. Raises `BadInput` if it is missing, broken or lacks one."""
    if not path.is_file():
        raise BadInput("artifact is missing", where=str(path), mend=_MEND)
    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow.names
            lacking = [name for name in columns or () if name not in found]
            if not lacking:
                table = file.read(columns=None if columns is None else list(columns))
                return table if columns is None else table.select(list(columns))
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"not readable as Parquet: {error}", where=str(path), mend=_MEND) from error
    raise BadInput(f"lacks {', '.join(lacking)} (found: {', '.join(found)})", where=str(path), mend=_MEND)

"""Read a Parquet artifact; a missing or damaged one is a `BadInput`, not a traceback.

    table = read(layout.items_clean, ["item_id", "text"])       # pl.DataFrame(table) where Polars goes on

pyarrow, since Polars panics on some damaged files, which no caller can catch decently. Tables that may not fit into
memory come in `batches`; those that are scanned lazily have their own reader (`data.coded`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import BadInput

_MEND = "run the stage that writes it: dvc repro"
_TEXT = {"item_id", "user_id", "text", "title", "target", "words", "kept_id"}
_LISTS = {"history", "context", "also"}


def read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The `columns` of the file (None: all), in that order.

    Raises `BadInput` if it is missing, broken, lacks one or holds something else in one (numbers as ids).
    """
    with _opened(path, columns) as file:
        table = file.read(columns=None if columns is None else list(columns))
        return table if columns is None else table.select(list(columns))


def batches(path: Path, columns: Sequence[str], rows: int = 65_536) -> Iterator[pa.RecordBatch]:
    """The `columns` of the file, at most `rows` rows at a time; raises what `read` does."""
    with _opened(path, columns) as file:
        yield from file.iter_batches(batch_size=rows, columns=list(columns))


@contextmanager
def _opened(path: Path, columns: Sequence[str] | None) -> Iterator[pq.ParquetFile]:
    """The file, its columns being checked; an error while it is read is a `BadInput` as well."""
    if not path.is_file():
        raise BadInput("artifact is missing", where=str(path), mend=_MEND)
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            wrong = [f"{name}: {_found(schema, name)}" for name in columns or schema.names if not _fits(schema, name)]
            if wrong:
                what = f"columns missing or of another type: {', '.join(wrong)}"
                raise BadInput(what, where=str(path), mend=_MEND)
            yield file
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"not readable as Parquet: {error}", where=str(path), mend=_MEND) from error


def _fits(schema: pa.Schema, name: str) -> bool:
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    if name in _LISTS:
        return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type)
    return name not in _TEXT or _is_text(kind)


def _is_text(kind: pa.DataType) -> bool:
    # A column or list without any value has the type null where it was written without a schema.
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    )


def _found(schema: pa.Schema, name: str) -> str:
    return str(schema.field(name).type) if name in schema.names else f"missing (found: {', '.join(schema.names)})"

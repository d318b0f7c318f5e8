"""Words of views (genre, director, labels, colours) as columns of the items, for texts, IDs and TF-IDF."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from components.data.canonical import coded
from components.errors import BadInput

SCHEMA: dict[str, coded.Kind] = {"item_id": pl.String, "column": pl.String, "words": pl.List(pl.String)}


def added(items: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, list[str]]:
    """`items` with a list column for each view of `path`, and their names; as they are where it holds no word.

    Raises `BadInput` where the items have a column of that name already.
    """
    if not path.is_file():
        return items, []
    words = coded.collect(coded.scan(path, SCHEMA), path)
    columns = words["column"].unique(maintain_order=True).to_list()
    if twice := sorted(set(columns) & set(items.columns)):
        raise BadInput(
            f"the items have a column {twice[0]!r} already, whose words are in their texts",
            where="params.yaml: views.words",
            mend=f"take {twice[0]} out",
        )
    for name in columns:
        own = words.filter(pl.col("column") == name).select("item_id", pl.col("words").alias(name))
        items = items.join(own, on="item_id", how="left", maintain_order="left")
    return items, columns

"""MovieLens as GroupLens publishes it: 100K (`u.data`, `u.item`), 1M and 10M (`.dat` with `::`), 20M to 32M (CSV).

Titles and genres are the text; ratings and epoch seconds come along. 100K and 1M are Latin-1, the rest UTF-8.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl

from components.data.canonical.tables import RawFile, Tables
from components.data.ingest import rawfiles, scanning, soundness
from components.errors import BadInput
from components.settings.params import Ingest

GENRES = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""Order of the flags in u.item (ml-100k README)."""
_RATINGS = ["user_id", "item_id", "rating", "timestamp"]
_RATINGS_CSV = ("userId", "movieId", "rating", "timestamp")


def recognised(names: Collection[str]) -> str | None:
    """Why the folder is one of this format, by the names of its files; None where it is not."""
    if {"u.data", "u.item"} <= set(names) or {"ratings.dat", "movies.dat"} <= set(names):
        return "The file names are those of MovieLens."
    return "ratings.csv and movies.csv are MovieLens." if {"ratings.csv", "movies.csv"} <= set(names) else None


def read(settings: Ingest, raw: Path, scratch: Path) -> Tables:
    """Scan ratings and movies of whichever release lies there. Raises `BadInput` where none does."""
    ratings = rawfiles.locate(raw, settings.interactions, ("u.data", "ratings.dat", "ratings.csv"), key="interactions")
    movies = rawfiles.locate(raw, settings.items, ("u.item", "movies.dat", "movies.csv"), key="items")
    plain = rawfiles.plain_name(ratings[0].name)
    if plain.endswith(".data"):
        return _hundred_thousand(ratings, movies, scratch)
    if plain.endswith(".dat"):
        return _double_colons(rawfiles.one(ratings, "interactions"), rawfiles.one(movies, "items"), scratch)
    return _csv(ratings, movies, scratch, settings)


def _hundred_thousand(ratings: list[Path], movies: list[Path], scratch: Path) -> Tables:
    header = ["item_id", "title", "release", "video", "imdb", *GENRES]
    wide, movies_file = scanning.table(
        movies, scratch, key="items", kind="lines", encoding="latin-1", header=header, separator="|"
    )
    flagged = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES[1:]]
    items = wide.select("item_id", "title", categories=pl.concat_list(flagged).list.drop_nulls())
    interactions, ratings_file = scanning.table(ratings, scratch, key="interactions", kind="tsv", header=_RATINGS)
    unused = {"items": ["release", "video", "imdb"]}
    return Tables(items, interactions, movies_file, ratings_file, {"layout": "u.data"}, unused)


def _double_colons(ratings: Path, movies: Path, scratch: Path) -> Tables:
    # 10M is UTF-8, and reads as such; 1M holds bytes that are no UTF-8.
    items, movies_file = _fields(movies, scratch, ["item_id", "title", "categories"], "items", _encoding(movies))
    interactions, ratings_file = _fields(ratings, scratch, _RATINGS, "interactions", None)
    return Tables(_with_genres(items), interactions, movies_file, ratings_file, {"layout": "dat"})


def _csv(ratings: list[Path], movies: list[Path], scratch: Path, settings: Ingest) -> Tables:
    interactions, ratings_file = scanning.table(
        ratings, scratch, key="interactions", quoting=settings.quoting.get("interactions")
    )
    items, movies_file = scanning.table(movies, scratch, key="items", quoting=settings.quoting.get("items"))
    _expect_columns(interactions, set(_RATINGS_CSV), ratings_file)
    _expect_columns(items, {"movieId", "title", "genres"}, movies_file)
    unused = {
        "interactions": [name for name in interactions.collect_schema() if name not in _RATINGS_CSV],
        "items": [name for name in items.collect_schema() if name not in ("movieId", "title", "genres")],
    }
    interactions = interactions.select(user_id="userId", item_id="movieId", rating="rating", timestamp="timestamp")
    items = items.select(item_id="movieId", title="title", categories="genres")
    return Tables(_with_genres(items), interactions, movies_file, ratings_file, {"layout": "csv"}, unused)


def _fields(
    path: Path, scratch: Path, names: list[str], key: str, encoding: str | None
) -> tuple[pl.LazyFrame, RawFile]:
    """Columns of `a::b::c` lines; a title may hold `::` only if it is the last field, so the count is checked."""
    file = soundness.checked(rawfiles.prepare(path, scratch, kind="lines", encoding=encoding), scratch, key=key)
    parts = scanning.lines(file).select(pl.col("line").str.split("::").alias("parts"))
    wrong = scanning.collect(
        parts.with_row_index("row", offset=1).filter(pl.col("parts").list.len() != len(names)).head(10), file
    )
    if not wrong.is_empty():
        rows = ", ".join(str(row) for row in wrong["row"])
        raise BadInput(
            f"lines without {len(names)} fields between '::': {rows}",
            where=file.shown,
            mend="get a whole copy of the file",
        )
    return parts.select(pl.col("parts").list.get(place).alias(name) for place, name in enumerate(names)), file


def _with_genres(items: pl.LazyFrame) -> pl.LazyFrame:
    genres = pl.col("categories")
    return items.with_columns(categories=pl.when(genres != "(no genres listed)").then(genres.str.split("|")))


def _encoding(path: Path) -> str | None:
    with rawfiles.opened(path) as stream:
        try:
            for line in stream:
                line.decode()
        except UnicodeDecodeError:
            return "latin-1"
    return None


def _expect_columns(frame: pl.LazyFrame, wanted: set[str], file: RawFile) -> None:
    names = frame.collect_schema().names()
    missing = sorted(wanted - set(names))
    if missing:
        raise BadInput(
            f"columns missing: {', '.join(missing)}; found: {', '.join(names)}",
            where=file.shown,
            mend="use format table and map the columns in ingest.columns, if this is not MovieLens",
        )

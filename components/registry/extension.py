"""A bundle with more items and nothing learned again: IDs by its own generator, the trie, the voices, the ranker.

    done = extend(bundle, items, out)               # items: item_id, text, title, ... as clean writes them
    done.words                                      # new item -> its ID
    done.aliases                                    # new item -> the one that has the same text

Append-only: every item that was there keeps number, ID and what each voice says of it. An ID is written beside the
items whose texts are nearest, from which it has to tell the new item apart, and is no other item's.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.errors import BadInput, GateRefused
from components.ranking.modes import HYBRID
from components.recommender.catalogue import ITEMS, Catalogue
from components.recommender.item_views import FOLDER as VIEWS
from components.recommender.pair import FACTS, PARAMS, broken_rules, drops_repeats, generator_of
from components.registry.bundle import verified
from components.settings.params import Index
from components.storage import parquet, vectors
from components.storage.artifacts import publishing, read_json
from components.storage.manifest import MANIFEST, verify_manifest, write_manifest
from components.textid.table.id_table import IdTable
from components.voices.load import VIEW

if TYPE_CHECKING:
    import polars as pl
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from components.ranking.hybrid import Hybrid

NEAREST = 64
"""Items of like text beside which a new item is named: near twins are among them."""


@dataclass(frozen=True)
class Extension:
    """What became of new items."""

    words: dict[str, str]
    """New item -> its textual ID."""
    aliases: dict[str, str]
    """New item -> the item with the same text, as which it is read from now on."""
    known: int
    """Items that the bundle had already."""


def extend(
    bundle: Path, items: pl.DataFrame, out: Path, views: Mapping[str, Mapping[str, NDArray[np.float32]]] | None = None
) -> Extension:
    """Publish the bundle with `items` added at `out`. views: of a view the vector of each item that has one, made by
    the bundle's basis (views/newcomers.py). Raises `BadInput` for a bundle without texts or for no new item,
    `GateRefused` where the longer table would break the contract of IDs."""
    import polars as pl

    from components.ranking.hybrid import Hybrid

    verified(bundle)
    facts = read_json(bundle / FACTS)
    old = Catalogue.load(bundle, drop_repeats=drops_repeats(bundle, facts))
    texts = _texts_of(bundle, old)
    merges = bool(read_json(bundle / PARAMS)["clean"].get("merge_duplicates", True))
    new, aliases, known = _new(items, texts, old, merges=merges)
    if new.is_empty() and not aliases:
        raise BadInput("no item is new", where="the items to add", mend="the champion recommends all of them already")
    hybrid = Hybrid.load(bundle / HYBRID) if (bundle / HYBRID).is_dir() else None
    columns = new.to_dict(as_series=False) | _vectors(views or {}, new["item_id"].to_list())
    near = _nearest(hybrid, columns, new.height, len(old.table))
    added = _named(bundle, old.table, texts, new, near) if new.height else old.table
    titles = {**old.titles, **dict(new.select("item_id", "title").iter_rows())}
    longer = Catalogue(added, titles, {**old.aliases, **aliases}, old.drop_repeats)
    with publishing(out) as temporary:
        shutil.copytree(bundle, temporary, ignore=shutil.ignore_patterns(MANIFEST, HYBRID))
        longer.save(temporary)
        table = pl.concat([texts, new.select([name for name in texts.columns if name in new.columns])], how="diagonal")
        table.sort("item_id").write_parquet(temporary / ITEMS, compression="zstd", statistics=False)
        if views and (bundle / VIEWS).is_dir():
            lengthen(temporary / VIEWS, added.item_ids, views)
        if hybrid is not None:
            hybrid.lengthened(longer, texts.to_dict(as_series=False), columns).save(temporary / HYBRID)
        if broken := broken_rules(bundle, added, added.item_ids):
            raise GateRefused(f"the longer ID table breaks its contract: {'; '.join(broken)}", where=str(bundle),
                              mend="tell us of it; nothing was registered")  # fmt: skip
        facts_of = verify_manifest(bundle)
        write_manifest(temporary, kind="bundle", dataset=facts_of.get("dataset"))
    row_of = added.row_of
    return Extension({item: added.words[row_of[item]] for item in columns["item_id"]}, aliases, known)


def name_items(
    generator: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    table: IdTable,
    beside: Sequence[tuple[str, str]],
    new: Sequence[tuple[str, str]],
    settings: Index,
    *,
    max_item_tokens: int,
) -> IdTable:
    """`table` with IDs for `new` items at its end. Both lists are pairs of item id and text; `beside`: items of the
    table whose texts are like theirs, from which their IDs have to tell them apart."""
    from components.textid.writing.writer import write_ids

    written, _ = write_ids(
        generator,
        tokenizer,
        [item for item, _ in (*beside, *new)],
        [text or "" for _, text in (*beside, *new)],
        settings,
        max_item_tokens=max_item_tokens,
        taken=table,
    )
    rows = [written.row_of[item] for item, _ in new]
    return IdTable(
        (*table.item_ids, *(written.item_ids[row] for row in rows)),
        (*table.words, *(written.words[row] for row in rows)),
        (*table.token_ids, *(written.token_ids[row] for row in rows)),
    )


def _named(bundle: Path, table: IdTable, texts: pl.DataFrame, new: pl.DataFrame, near: Sequence[int]) -> IdTable:
    """`name_items` by a bundle's own generator; `near`: rows of `texts`."""
    beside, fresh = (list(each.select("item_id", "text").iter_rows()) for each in (texts[list(near)], new))
    return name_items(
        *generator_of(bundle),
        table,
        beside,
        fresh,
        Index(**read_json(bundle / PARAMS)["index"]),
        max_item_tokens=read_json(bundle / FACTS)["train"]["max_item_tokens"],
    )


def _vectors(views: Mapping[str, Mapping[str, NDArray[np.float32]]], item_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of vectors as the voices of views read them, 0 for an item without; none of a view that none has."""
    found = {}
    for name, of_items in views.items():
        if of_items:
            nothing = np.zeros(len(next(iter(of_items.values()))), np.float32)
            found[f"{VIEW}:{name}"] = [of_items.get(item, nothing) for item in item_ids]
    return found


def lengthen(folder: Path, item_ids: Sequence[str], views: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> None:
    """Put the vectors of new items beside those that the language models read, in place."""
    row_of = {item: row for row, item in enumerate(item_ids)}
    longer = {name: np.asarray(each) for name, each in vectors.load(folder, item_ids).items()}
    for name, each in longer.items():
        for item, vector in views.get(name, {}).items():
            if item in row_of:
                each[row_of[item]] = vector
    with publishing(folder) as temporary:
        vectors.save(temporary, item_ids, longer)
        for layers in folder.glob("*.safetensors"):
            shutil.copyfile(layers, temporary / layers.name)


def _texts_of(bundle: Path, catalogue: Catalogue) -> pl.DataFrame:
    """The item table of a bundle in the order of its catalogue. Raises `BadInput` for one of before texts were kept."""
    import polars as pl

    table = pl.DataFrame(parquet.read(bundle / ITEMS))
    if "text" not in table.columns:
        mend = "register it again (dvc repro --single-item --force register), or retrain"
        raise BadInput("the bundle does not hold the texts of its items", where=str(bundle / ITEMS), mend=mend)
    order = pl.DataFrame({"item_id": catalogue.table.item_ids}, schema={"item_id": pl.String})
    return order.join(table, on="item_id", how="left", maintain_order="left")


def _new(
    items: pl.DataFrame, texts: pl.DataFrame, old: Catalogue, *, merges: bool
) -> tuple[pl.DataFrame, dict[str, str], int]:
    """(items that are new, sorted by text; those whose texts another item has, with that item; how many are known)."""
    import polars as pl

    fresh = items.filter(~pl.col("item_id").is_in(list(old.row_of))).sort("text", "item_id")
    known = items.height - fresh.height
    if not merges:
        return fresh, {}, known
    names = [name for name in texts.columns if name != "item_id" and name in fresh.columns]
    keyed = [table.select("item_id", key=_key(table, names)) for table in (texts, fresh)]
    kept = pl.concat(keyed).unique("key", keep="first", maintain_order=True).rename({"item_id": "kept_id"})
    twins = keyed[1].join(kept, on="key").filter(pl.col("item_id") != pl.col("kept_id"))
    return fresh.join(twins, on="item_id", how="anti"), dict(twins.select("item_id", "kept_id").iter_rows()), known


def _key(table: pl.DataFrame, names: Sequence[str]) -> pl.Expr:
    """What two items of equal texts have in common."""
    import polars as pl

    lists = {name for name in names if isinstance(table.schema[name], pl.List)}
    parts = [pl.col(name).list.join("\x1f") if name in lists else pl.col(name) for name in names]
    return pl.concat_str([part.fill_null("") for part in parts], separator="\x1e")


def _nearest(hybrid: Hybrid | None, columns: dict[str, list[Any]], new: int, items: int) -> list[int]:
    """Rows of the items nearest to the new ones by a text voice; all items where the bundle has none."""
    from components.voices.text import Text
    from components.voices.view import View

    voices = {} if hybrid is None else hybrid.reader.voices
    voice = next((each for each in voices.values() if isinstance(each, Text) and not isinstance(each, View)), None)
    if voice is None or not new:
        return list(range(items))
    near, _ = voice.near(voice.of_new(columns, new), NEAREST)
    return sorted(set(near[near >= 0].tolist()))

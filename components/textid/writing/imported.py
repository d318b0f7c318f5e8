"""ID tables from elsewhere: `item_id<TAB>words` with a header line, plain or .gz.

words = read_imported(Path("reference_ids.tsv.gz"))
table, report = adopt(words, tokenizer, item_ids, texts, max_tokens=10)
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from components.errors import BadInput
from components.textid.table.id_table import IdTable
from components.textid.table.quality import quality
from components.textid.table.taken import TakenIds
from components.textid.words.distinctive import fit
from components.textid.words.normal import normalise
from components.textid.words.own import OwnWords
from components.textid.words.twins import Twins, near_twins
from components.textid.writing.last_resort import last_resort

_MEND = "give a file of two columns, item_id<TAB>words, with a header line (.tsv or .tsv.gz)"


def read_imported(path: Path) -> dict[str, str]:
    """Item id -> words as they stand in the file (maybe empty). Raises `BadInput` naming the line that is wrong."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise BadInput("there is no such table of IDs", where=str(path), mend=_MEND) from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadInput(f"it cannot be read: {error}", where=str(path), mend=_MEND) from error
    lines = text.removesuffix("\n").replace("\r\n", "\n").split("\n")
    if lines[0].split("\t")[0] != "item_id" or lines[0].count("\t") != 1:
        raise BadInput("its first line is not `item_id<TAB>words`", where=f"{path}, line 1", mend=_MEND)
    words: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        item_id, tab, said = line.partition("\t")
        if not item_id or not tab or "\t" in said or item_id in words:
            what = "an item id that stood before" if item_id in words else "not two columns"
            raise BadInput(f"{what}: {line[:80]!r}", where=f"{path}, line {number}", mend=_MEND)
        words[item_id] = said
    return words


def adopt(
    words: Mapping[str, str],
    tokenizer: PreTrainedTokenizerBase,
    item_ids: Sequence[str],
    texts: Sequence[str],
    *,
    max_tokens: int,
    taken: IdTable | None = None,
) -> tuple[IdTable, dict[str, Any]]:
    """A table of given words, in the order of `item_ids`: normalised, cut at a whole word to `max_tokens`, made unique.

    Of items with the same words the one whose text comes first keeps them, the others get a distinguishing word of
    their own text or a number; an item without words starts from its most distinctive ones. The report counts each of
    these, and the words that their items' texts do not have.
    taken: items in it keep their ID; the IDs of items that are gone from the catalogue are not given to others.
    """
    catalogue = sorted(zip(item_ids, texts, strict=True), key=itemgetter(1, 0))  # by text: ids tell nothing
    before = {} if taken is None else dict(zip(taken.item_ids, taken.words, strict=True))
    new = [item for item, _ in catalogue if item not in before]
    given = [normalise(words.get(item, "")) for item in new]
    fitted = fit(tokenizer, given, max_tokens=max_tokens)
    taken_ids = TakenIds(tokenizer, max_tokens=max_tokens, taken=before.values())
    named = {item: before[item] for item, _ in catalogue if item in before}
    for item, said, good in zip(new, fitted, taken_ids.usable(fitted), strict=True):
        if good and said not in taken_ids:
            named[item] = said
            taken_ids.take(said)
    left = {item: said for item, said in zip(new, fitted, strict=True) if item not in named}
    ids, told = [item for item, _ in catalogue], [text for _, text in catalogue]
    own = OwnWords.of(ids, told)
    named |= last_resort(left, told, own, Twins({}), taken_ids)
    table = IdTable.from_words(tokenizer, {item: named[item] for item in item_ids})
    report = {
        "items": len(table),
        "kept": len(catalogue) - len(new),
        "written": len(new),
        "missing": sum(not said for said in given),
        "shortened": sum(long != short for long, short in zip(given, fitted, strict=True)),
        "last_resort": len(left),
        "foreign_items": len(set(words) - set(named)),
        "digest": table.digest(),
        **quality(table, own, near_twins(own)),
    }
    return table, report

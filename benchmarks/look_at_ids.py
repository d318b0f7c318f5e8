"""IDs beside those of the IDGenRec authors: their figures, and a hundred to look at. Prints Markdown.

    idiom init ../shared/data/amazon-beauty && idiom repro --stage clean
    python -m benchmarks.look_at_ids                                   # cold start and all IDs: some ten minutes
    python -m benchmarks.look_at_ids --table artifacts/amazon-beauty/index/id_table.parquet      # seconds

Without a table it runs what the first round of a training runs: the generator's cold start, then the writing of all
IDs, by default with a `micro` generator. docs/ids.md discusses what comes out.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from benchmarks.first_tables import first_tables
from components.processes.environment import prepare
from components.sampling import hash_sample
from components.settings.file import load as load_params
from components.settings.train import GeneratorTraining, Train
from components.storage import parquet
from components.textid.table.id_table import IdTable
from components.textid.table.quality import quality
from components.textid.words.normal import normalise
from components.textid.words.own import OwnWords
from components.textid.words.tokenizer import train_tokenizer
from components.textid.words.twins import near_twins
from components.textid.writing.imported import read_imported

CLEAN = Path("artifacts/amazon-beauty/clean")
REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "amazon-beauty" / "reference_ids.tsv.gz"
SEED = 17


def main() -> None:
    """Take or write a table, print its figures beside the reference's, and items with both IDs."""
    prepare()
    arguments = _arguments()
    columns = parquet.read(arguments.clean / "items_clean.parquet", ["item_id", "text"]).to_pydict()
    texts = {item: text or "" for item, text in zip(columns["item_id"], columns["text"], strict=True)}
    table = IdTable.load(arguments.table) if arguments.table else _first(arguments)
    theirs = {item: normalise(words) for item, words in read_imported(arguments.reference).items() if item in texts}
    tokenizer = train_tokenizer(list(texts.values()), vocabulary_size=arguments.vocabulary_size)
    ours = dict(zip(table.item_ids, table.words, strict=True))
    print(_markdown([_figures(words, texts, tokenizer) for words in (ours, theirs)]))
    order = sorted(texts)
    for place in hash_sample(order, arguments.count, f"{SEED}/"):
        item = order[place]
        print(f"| {texts[item][:70].replace('|', ' ')} | {ours[item]} | {theirs.get(item, '')} |")


def _first(arguments: argparse.Namespace) -> IdTable:
    """The table of the first round of a training with these settings."""
    generator = GeneratorTraining(cold_start_steps=arguments.steps, cold_start_lr=arguments.lr)
    train = Train(size=arguments.size, vocabulary_size=arguments.vocabulary_size, generator=generator)
    index = load_params(Path("params.yaml")).index
    ((table, _),) = first_tables(arguments.clean, train, [replace(index, faithful=not arguments.any_words)], seed=SEED)
    return table


def _figures(words: Mapping[str, str], texts: Mapping[str, str], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    table = IdTable.from_words(tokenizer, words)
    own = OwnWords.of(list(texts), list(texts.values()))
    said = [word for name in table.words for word in name.split()]
    return {
        **quality(table, own, near_twins(own)),
        "words with a digit": sum(any(sign.isdigit() for sign in word) for word in said) / len(said),
        "IDs that say a word twice": sum(len(set(n.split())) < len(n.split()) for n in table.words) / len(table),
        "different IDs": len(set(table.words)) / len(table),
    }


def _markdown(figures: list[dict[str, Any]]) -> str:
    ours, theirs = figures
    lines = ["| | ours | theirs |", "|---|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {_plain(ours[name])} | {_plain(theirs[name])} |" for name in ours]
    return "\n".join([*lines, "", "| text | ours | theirs |", "|---|---|---|"])


def _plain(figure: float) -> str:
    return str(figure) if isinstance(figure, int) else f"{figure:.3f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=Path, default=CLEAN, help="output folder of the stage `clean`")
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="table of IDs to compare with")
    parser.add_argument("--table", type=Path, help="a written ID table; default: write one")
    parser.add_argument("--any-words", action="store_true", help="write it with index.faithful: false")
    parser.add_argument("--steps", type=int, default=GeneratorTraining().cold_start_steps)
    parser.add_argument("--lr", type=float, help="peak learning rate of the cold start (default: by the width)")
    parser.add_argument("--size", default="micro")
    parser.add_argument("--vocabulary-size", type=int, default=8192)
    parser.add_argument("--count", type=int, default=100, help="items to print")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""A workspace with the artifacts of all stages before `register`, small and made by hand; no model in it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from components.evaluation.arrays import cases
from components.evaluation.contenders import MODEL
from components.evaluation.contenders import baselines as names
from components.evaluation.evaluate import evaluate
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Times, named
from components.registry.register import register
from components.registry.store import connect
from components.settings.decoding import Decoding
from components.settings.file import from_dict
from components.settings.params import Params
from components.storage.artifacts import publish_json, publishing
from components.storage.layout import Layout
from components.storage.manifest import write_manifest
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build as build_voice

ITEMS = [f"i{number}" for number in range(8)]
WORDS = ["honey", "soap", "lemon", "cream", "black", "towel", "brush", "mint"]
PARAMS = from_dict({"dataset": "tiny", "evaluate": {"ks": [2, 5]}})
TABLES = {"histories": "1" * 64, "valid_targets": "2" * 64}
"""Digests of what model and evaluation have learned from."""
_FOLDER = tempfile.TemporaryDirectory(prefix="idiom-tests-")


@dataclass(frozen=True)
class FirstItems:
    """A recommender whose answers are known: the first items of the catalogue that a history has not, scored by their
    row and the newest time of the history."""

    catalogue: Catalogue

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        known = [self.catalogue.rows(history) for history in histories]
        rest = [[row for row in range(len(self.catalogue.table)) if row not in seen] for seen in known]
        newest = [moments[-1] if moments else 0.0 for moments in times or [None] * len(rest)]
        return [
            named(self.catalogue, rows[:k], [now - float(row) for row in rows[:k]])
            for rows, now in zip(rest, newest, strict=True)
        ]


def build(workspace: Path, *, weights: bytes = b"weights") -> tuple[Layout, Params]:
    """Write the artifacts of the stages up to `evaluate`."""
    layout = Layout(workspace, "tiny")
    for stage in _evaluated(*names()).iterdir():  # whole folders: a test may have added files to one
        shutil.rmtree(layout.root / stage.name, ignore_errors=True)
        shutil.copytree(stage, layout.root / stage.name)
    for model in ("generator", "recommender"):
        (layout.pair / model / "model.safetensors").write_bytes(weights)
    write_manifest(layout.pair)
    return layout, PARAMS


@cache
def empty_store() -> Path:
    """A migrated, empty mlflow.db to copy: made once in each process, as it takes seconds."""
    folder = Path(_FOLDER.name) / "store"
    folder.mkdir()
    connect(folder)
    return folder / "mlflow.db"


@cache
def _evaluated(*compared: str) -> Path:
    """The artifacts that `build` copies: made once in each process, as plots and report take half a second."""
    layout = Layout(Path(_FOLDER.name) / "-".join(compared), "tiny")
    titles = [f"Title of {item}" for item in ITEMS[:-1]] + [None]
    items = pl.DataFrame({"item_id": ITEMS, "text": [f"words of {item}" for item in ITEMS], "title": titles})
    users = [f"u{number}" for number in range(6)]
    histories = pl.DataFrame({"user_id": users, "history": [[ITEMS[n], ITEMS[n + 1]] for n in range(6)]})
    test = pl.DataFrame(
        {"user_id": users, "context": [[] for _ in users], "target": [ITEMS[(n + 2) % 8] for n in range(6)]},
        schema_overrides={"context": pl.List(pl.String)},
    )
    words = tuple(f"words of {item}" for item in ITEMS)
    table = IdTable(tuple(ITEMS), words, tuple((n,) for n in range(8)))
    catalogue = Catalogue(table, titles=dict(zip(ITEMS, titles, strict=True)))
    for path, frame in (
        (layout.aliases, pl.DataFrame({"item_id": ["i0 twin"], "kept_id": ["i0"]})),
        (layout.items_clean, items),
        (layout.histories, histories),
        (layout.valid_targets, test),
    ):
        with publishing(path) as temporary:
            frame.write_parquet(temporary)
    table.save(layout.id_table)
    publish_json(layout.verdict, {"passed": True, "checks": [{"name": "ties_in_time", "passed": False}], "facts": {}})
    with publishing(layout.pair) as temporary:
        for model in ("generator", "recommender"):
            (temporary / model).mkdir(parents=True)
        (temporary / "pair.json").write_text(json.dumps({"train_key": "f00d" * 16, "learned_from": TABLES}))
        table.save(temporary / "id_table.parquet")
        lines = [{"event": "epoch", "phase": "recommender", "loss": 2.0 - n / 10, "steps": n} for n in range(3)]
        (temporary / "training_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = cases(items, histories, test, test)
    baselines = {name: build_voice(name, Learned(catalogue, asked.train)) for name in compared}
    recommenders = {MODEL: FirstItems(catalogue), **baselines}
    trust = {"learned_from": TABLES}
    evaluate(PARAMS.evaluate, asked, recommenders, catalogue, seed=PARAMS.seed, layout=layout, trust=trust)
    return layout.root


def build_of(
    workspace: Path,
    pair: Path,
    *,
    evaluate: dict[str, object],
    clean: dict[str, object] | None = None,
    aliases: dict[str, str] | None = None,
) -> tuple[Layout, Params]:
    """The same around a real pair, whose items are then the catalogue; `evaluate`, `clean`: settings."""
    workspace.mkdir()
    shutil.copyfile(empty_store(), workspace / "mlflow.db")
    layout, _ = build(workspace)
    shutil.rmtree(layout.pair)
    shutil.copytree(pair, layout.pair)
    facts = json.loads((pair / "pair.json").read_text())
    (layout.pair / "pair.json").write_text(json.dumps({**facts, "train_key": "f00d" * 16, "learned_from": TABLES}))
    write_manifest(layout.pair)
    shutil.copyfile(pair / "id_table.parquet", layout.id_table)
    table = pl.read_parquet(layout.id_table)
    with publishing(layout.items_clean) as temporary:
        table.select("item_id", text="words", title="words").write_parquet(temporary)
    with publishing(layout.aliases) as temporary:
        merged = {"item_id": list(aliases or {}), "kept_id": list((aliases or {}).values())}
        pl.DataFrame(merged, schema={"item_id": pl.String, "kept_id": pl.String}).write_parquet(temporary)
    return layout, from_dict({"dataset": "tiny", "clean": clean or {}, "evaluate": {"ks": [2, 4], **evaluate}})


def untrained_pair(directory: Path, *, seed: int = 3) -> None:
    """A pair with random weights; the ID of item n is word n."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    from components.recommender.pair import Pair
    from components.recommender.prompts.phrasings import TEMPLATES, Prompts
    from components.textid.table.id_table import IdTable

    known = sorted({word for template in TEMPLATES for word in template.split()} | set(WORDS))
    bare = Tokenizer(
        models.WordLevel({token: n for n, token in enumerate(["<pad>", "</s>", "<unk>", *known])}, unk_token="<unk>")
    )
    bare.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, **sizes)
    generator, recommender = (T5ForConditionalGeneration(config).eval() for _ in range(2))
    table = IdTable.from_words(tokenizer, dict(zip(ITEMS, WORDS, strict=True)))
    facts = {"train_key": f"{seed:04x}" * 16, "max_history": 4}
    Pair(generator, recommender, tokenizer, Prompts(), table, facts).write(directory)


def register_untrained(workspace: Path, *, seed: int = 3) -> str:
    """Register an untrained pair of a workspace of `build`; the number of the version."""
    layout, params = build(workspace)
    (workspace / "params.yaml").write_text("dataset: tiny\n")
    with publishing(layout.pair) as directory:
        untrained_pair(directory, seed=seed)
        write_manifest(directory)
    layout.id_table.write_bytes((layout.pair / "id_table.parquet").read_bytes())
    # Its IDs are made up, and it learned from no table.
    lenient = replace(params, promote=replace(params.promote, known_tables=False, min_own_words=0.0))
    return str(register(lenient, layout)["version"])

"""The trained pair on disk: generator, recommender, tokenizer, prompts, ID table, facts. One directory, one atom.

with publishing(job.out) as directory:
    pair.write(directory)
    ...                                   # further files, such as training_log.jsonl
    write_manifest(directory)
pair = Pair.load(job.out)                 # verifies the manifest; refuses pickles and remote code

torch is imported by what reads or writes a model: a registration needs file names and tables alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import BadInput, GateRefused
from components.recommender.catalogue import ID_TABLE
from components.recommender.prompts.phrasings import Prompts
from components.settings.train import Family
from components.storage.artifacts import publish_json, read_json
from components.storage.manifest import MANIFEST, verify_manifest, write_manifest
from components.textid.table.id_table import IdTable

GENERATOR = "generator"
RECOMMENDER = "recommender"
TOKENIZER = "tokenizer"
PROMPTS = "prompts.json"
FACTS = "pair.json"
CATALOGUES = "catalogues"
"""Of a pair that was trained on several catalogues: a folder for each further one, with its ID table and what it was
taught; those of the first lie in the pair itself."""
PARAMS = "params.json"
"""Settings of all stages, in a bundle."""


@dataclass(frozen=True)
class Pair:
    """What a training leaves behind. The models are Hugging Face models in evaluation mode, on the CPU when loaded."""

    generator: Any
    recommender: Any
    tokenizer: Any
    prompts: Prompts
    table: IdTable
    facts: dict[str, Any]
    """Content of pair.json: family, settings, train key, metrics. The engine needs `max_history` (items), and takes
    `drop_repeats`: see `drops_repeats`."""

    def write(self, directory: Path) -> None:
        """Write all parts into `directory`, which is made if need be; the manifest is left to the caller."""
        from components.networks.backbone import save_model
        from components.networks.tokenizer import save_tokenizer
        from components.networks.views import detach
        from components.recommender import item_views, soft_prompt

        directory.mkdir(parents=True, exist_ok=True)
        models = {item_views.RECOMMENDER: self.recommender, item_views.GENERATOR: self.generator}
        item_views.save(models, directory, self.table.item_ids)
        for model in models.values():
            detach(model)  # the folder of a model is one that any library reads
        soft_prompt.save(self.recommender, directory)
        soft_prompt.detach(self.recommender)
        save_model(self.generator, directory / GENERATOR)
        save_model(self.recommender, directory / RECOMMENDER)
        save_tokenizer(self.tokenizer, directory / TOKENIZER)
        self.prompts.save(directory / PROMPTS)
        self.table.save(directory / ID_TABLE)
        publish_json(directory / FACTS, {**self.facts, "table_digest": self.table.digest()})

    @classmethod
    def load(cls, directory: Path) -> Pair:
        """Read a pair or a bundle. Raises `BadInput` for a file that is missing, changed, unlisted or unsafe."""
        from components.networks.backbone import load_model

        verify_manifest(directory)
        table = IdTable.load(directory / ID_TABLE)
        return cls(generator=load_model(directory / GENERATOR), table=table, **parts(directory))


def of_catalogue(pair: Path, catalogue: str, out: Path, facts: Mapping[str, Any]) -> None:
    """Write into `out` a pair of several catalogues as one of the further ones sees it: the same weights, its own IDs.

    facts: of pair.json, instead of those of the first. Raises `BadInput` for a pair that was not taught the catalogue.
    """
    verify_manifest(pair)
    own, said = pair / CATALOGUES / catalogue, read_json(pair / FACTS)
    if not own.is_dir():
        raise BadInput(
            f"the pair was not trained on {catalogue}", where=str(pair), mend="run the stage `train` again: dvc repro"
        )
    shutil.copytree(pair, out, ignore=shutil.ignore_patterns(MANIFEST, CATALOGUES))
    shutil.copytree(own, out, dirs_exist_ok=True)
    about = said["catalogues"][catalogue]
    table = IdTable.load(out / ID_TABLE)
    its = {"catalogue": catalogue, **{name: about[name] for name in ("items", "drop_repeats", "valid")}}
    publish_json(out / FACTS, {**said, **its, **facts, "table_digest": table.digest()})
    write_manifest(out)


def refuse_other_ids(trained: IdTable, published: IdTable, *, where: str) -> None:
    """Raises `GateRefused` if an item that a recommender was trained on has another ID now: it would recommend garbage.

    Items that are new in the published table, or gone from it, are no matter: that is what `index` is for.
    """
    if churn := published.churn(trained):
        shared = (item for item in published.item_ids if item in trained.row_of)
        item = next(i for i in shared if published.words[published.row_of[i]] != trained.words[trained.row_of[i]])
        raise GateRefused(
            f"{churn:.1%} of the items have other IDs than those that the recommender was trained on: {item} was "
            f"{trained.words[trained.row_of[item]]!r} and is {published.words[published.row_of[item]]!r}",
            where=where,
            mend="set index.stable to true and run the stage `index` again, or train on new IDs",
        )


def drops_repeats(directory: Path, facts: Mapping[str, Any] | None = None) -> bool:
    """Whether `clean` dropped the repeats of histories before the training (`clean.drop_repeats`).

    facts: content of pair.json, if it was read; that of an earlier version does not say so, params.json of its bundle
    does.
    """
    facts = read_json(directory / FACTS) if facts is None else facts
    if "drop_repeats" not in facts and (directory / PARAMS).is_file():
        facts = read_json(directory / PARAMS)["clean"]
    return bool(facts.get("drop_repeats", True))


def parts(directory: Path, *, lean: bool = False) -> dict[str, Any]:
    """All parts but the ID table and the generator, which recommending does not need. The manifest must have been
    verified. lean: without the library's classes where that can be (`networks/lean.py`)."""
    facts = read_json(directory / FACTS)
    if not isinstance(facts, dict) or not isinstance(facts.get("max_history"), int):
        raise BadInput(
            "does not say max_history", where=str(directory / FACTS), mend="restore it (dvc checkout) or train again"
        )
    model, tokenizer = (lean and _lean(directory, facts)) or _whole(directory, facts)
    return {"recommender": model, "tokenizer": tokenizer, "prompts": Prompts.load(directory / PROMPTS), "facts": facts}


def generator_of(directory: Path) -> tuple[Any, Any]:
    """The ID generator of a pair or a bundle, and its tokenizer. The manifest must have been verified."""
    from components.networks.backbone import load_model
    from components.networks.tokenizer import load_tokenizer

    return load_model(directory / GENERATOR), load_tokenizer(directory / TOKENIZER)


def _whole(directory: Path, facts: Mapping[str, Any]) -> tuple[Any, Any]:
    from components.networks.backbone import load_model
    from components.networks.tokenizer import load_tokenizer

    family = _family(facts, where=str(directory / FACTS))
    return load_model(directory / RECOMMENDER, family), load_tokenizer(directory / TOKENIZER)


def _lean(directory: Path, facts: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """Model and tokenizer of a pair from scratch; None for others. User IDs are cut by the library's tokenizer."""
    from components.networks import lean

    trained = facts.get("train")
    if not isinstance(trained, dict) or trained.get("backbone") != "scratch" or facts.get("user_id"):
        return None
    model = lean.load_model(directory / RECOMMENDER)
    return None if model is None else (model, lean.Tokenizer(directory / TOKENIZER))


def _family(facts: Mapping[str, Any], *, where: str) -> Family:
    """The family that pair.json names; pairs from before there were two are encoder-decoders."""
    family = facts.get("family", "encoder-decoder")
    if family not in ("encoder-decoder", "decoder-only"):
        raise BadInput(f"unknown family {family!r}", where=where, mend="restore it (dvc checkout) or train again")
    return family


def published_table(pair: Path, path: Path, item_ids: Sequence[str]) -> IdTable:
    """The ID table that `index` published for a pair. It has no manifest: its contract is checked before it is used.

    Raises `BadInput` where it is not of the catalogue `item_ids`, `GateRefused` where it breaks a rule (edited by hand,
    say).
    """
    verify_manifest(pair)
    table, mend = IdTable.load(path), "run the stage `index` again"
    if list(table.item_ids) != list(item_ids):
        what = "different items" if set(table.item_ids) != set(item_ids) else "the same items in different orders"
        raise BadInput(f"the ID table and the catalogue hold {what}", where=str(path), mend=mend)
    if broken := broken_rules(pair, table, item_ids):
        raise GateRefused(f"the ID table breaks its contract: {'; '.join(broken)}", where=str(path), mend=mend)
    return table


def broken_rules(directory: Path, table: IdTable, item_ids: Sequence[str]) -> list[str]:
    """Rules of the ID table's contract that `table` breaks beside the tokenizer of a pair or a bundle, in words."""
    from components.networks.tokenizer import load_tokenizer

    # Length is a setting of `index`, so it is no rule here: none is longer than the longest.
    longest = max(map(len, table.token_ids), default=0)
    broken = table.violations(load_tokenizer(directory / TOKENIZER), max_tokens=longest, item_ids=item_ids)
    return [f"{rule['rule']} ({rule['count']} rows, such as {rule['rows'][0]})" for rule in broken]

"""Builds and verifies the model bundle: the one directory that is registered, served and compared.

Holds the pair (weights, configs, tokenizer), the published ID table, titles, the ids that `clean` merged away, settings
and the fingerprints of the data, and a manifest with a SHA-256 per file, written last. The same inputs give the same
bytes.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from components.errors import BadInput
from components.ranking.experts import EXPERTS
from components.ranking.modes import CHOICE, FUSION, HYBRID
from components.recommender.catalogue import ALIASES, ID_TABLE, ITEMS, read_aliases
from components.recommender.pair import FACTS, PARAMS, refuse_other_ids
from components.registry.wording import Wording
from components.settings.decoding import Decoding, Mode
from components.settings.params import Params, to_dict
from components.storage import parquet
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.layout import Layout
from components.storage.manifest import MANIFEST, sha256, verify_manifest, write_manifest
from components.storage.thumbnails import THUMBNAILS, Thumbnails
from components.storage.vectors import BASIS
from components.textid.table.id_table import IdTable
from components.voices.load import voice

FINGERPRINTS = "fingerprints.json"
EVIDENCE = "evidence.json"
"""What a bundle says for its own promotion: how far its IDs fit their items, and which tables it learned from beside
those that it was judged by."""
BASES = "view_bases"
"""Of each view of pictures, sounds or numbers, what turns those of a new item into its vector (views/reduce.py)."""
BUNDLE = "idiom.bundle_sha256"
"""Tag of a model version: the `bundle_sha256` of what it holds."""

DIGEST = "IDIOM_BUNDLE_SHA256"
"""Environment variable: the `bundle_sha256` that a server must find in the model that it loads."""

# Formats that run code when they are opened; a bundle holds safetensors, Parquet and JSON instead.
_UNSAFE = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".py", ".so"}


def items_of(bundle: Path) -> list[str]:
    """Ids of a bundle's items."""
    return list(parquet.read(bundle / ITEMS, ["item_id"])["item_id"].to_pylist())


def assemble(layout: Layout, params: Params) -> Path:
    """Publish the bundle of the dataset's current artifacts and return its directory.

    The pair's own ID table gives way to the published one (`index`), which holds the same ID for every item that
    the pair was trained on. Raises `BadInput` for a pair that does not match its manifest or a catalogue that does not
    match the table, `GateRefused` for a table with other IDs.
    """
    verify_manifest(layout.pair)
    Wording.of(params.register.language)  # one that is not there is refused before it travels
    sources = fingerprints(layout)  # first, since it names the artifact that is missing
    _need_evaluation(layout)
    refuse_other_ids(IdTable.load(layout.pair / ID_TABLE), IdTable.load(layout.id_table), where=str(layout.id_table))
    read_aliases(layout.aliases)  # a damaged one is refused before it travels
    with publishing(layout.bundle) as temporary:
        shutil.copytree(layout.pair, temporary, ignore=shutil.ignore_patterns(MANIFEST))
        shutil.copyfile(layout.id_table, temporary / ID_TABLE)
        shutil.copyfile(layout.aliases, temporary / ALIASES)
        _write_items(layout.items_clean, layout.id_table, temporary / ITEMS)
        if layout.hybrid.is_dir():
            verify_manifest(layout.hybrid)
            shutil.copytree(layout.hybrid, temporary / HYBRID)
            shutil.copyfile(layout.mode, temporary / CHOICE)
        for basis in sorted(layout.views.glob(f"*{BASIS}")):
            (temporary / BASES).mkdir(exist_ok=True)
            shutil.copyfile(basis, temporary / BASES / basis.name)
        if layout.thumbnails.is_file() and Thumbnails.load(layout.thumbnails):
            shutil.copyfile(layout.thumbnails, temporary / THUMBNAILS)
        publish_json(temporary / PARAMS, _settings(params))
        publish_json(temporary / FINGERPRINTS, sources)
        publish_json(temporary / EVIDENCE, _evidence(layout))
        _refuse_unsafe(temporary)
        write_manifest(temporary, kind="bundle", dataset=layout.dataset)
    return layout.bundle


def fingerprints(layout: Layout) -> dict[str, str]:
    """SHA-256 of what the bundle was made from."""
    sources = {
        "items_clean": layout.items_clean,
        "histories": layout.histories,
        "verdict": layout.verdict,
        "pair": layout.pair / MANIFEST,
        "id_table": layout.id_table,
        "aliases": layout.aliases,
    }
    if layout.hybrid.is_dir():
        sources |= {"hybrid": layout.hybrid / MANIFEST, "mode": layout.mode}
    return {name: sha256(path) for name, path in sources.items()}


def _evidence(layout: Layout) -> dict[str, Any]:
    """Shares of own words of the IDs; table -> SHA-256 as language model, ranker and evaluation opened it; and where
    another mode than the language model answers, what it had on validation.

    An artifact of an earlier version does not say what it learned from, and then nothing is said of it here."""
    from components.textid.table.quality import own_words  # with scipy, which an answer does not need
    from components.textid.words.own import OwnWords

    items = parquet.read(layout.items_clean, ["item_id", "text"]).to_pydict()
    facts = {"language model": read_json(layout.pair / FACTS), "judged by": read_json(layout.metrics).get("trust", {})}
    if layout.rank_report.is_file():
        facts["ranker"] = read_json(layout.rank_report)
    mode = read_json(layout.metrics).get("voices", {}).get("mode", "generate")
    return {
        "own_words": own_words(IdTable.load(layout.id_table), OwnWords.of(items["item_id"], items["text"])),
        "learned_from": {who: each["learned_from"] for who, each in facts.items() if each.get("learned_from")},
        **({} if mode == "generate" else {"validation": _on_validation(layout, mode)}),
    }


def _on_validation(layout: Layout, mode: Mode) -> dict[str, float]:
    """Metric -> value of that mode when `rank` compared the modes; nothing where it could not (`train.refit`)."""
    found = read_json(layout.rank_report).get("modes", {}).get("ndcg_at_10", {})
    name = f"hybrid {read_json(layout.mode)['share']}" if mode == "hybrid" else mode
    return {"ndcg_at_10": found[name]} if name in found else {}


def _settings(params: Params) -> dict[str, Any]:
    """All settings but those that make no other model: how long a store is waited for, the rules of promotion, what a
    drop of data may be, what drift is."""
    settings = to_dict(params)
    del settings["register"]["wait_seconds"], settings["promote"], settings["drops"], settings["monitor"]
    return settings


def _need_evaluation(layout: Layout) -> None:
    """Refuse a bundle whose run would lack what a reviewer opens, or what a later comparison needs."""
    for path in (layout.metrics, layout.report, layout.per_user, layout.plots):
        if not (any(path.iterdir()) if path.is_dir() else path.is_file()):
            raise BadInput("artifact is missing", where=str(path), mend="run the stage `evaluate` again: dvc repro")
    parquet.read(layout.per_user, ["user_id"])


def verified(bundle: Path, digest: str | None = None) -> dict[str, Any]:
    """Check a bundle, or a saved voice, against its manifest and return the manifest.

    digest: the `bundle_sha256` that it was registered with: a manifest that was exchanged together with its files fits
    them. Raises `BadInput` naming the file that differs.
    """
    manifest = verify_manifest(bundle)
    if digest is not None and bundle_sha256(bundle) != digest:
        raise BadInput(
            f"this is not what was registered: its SHA-256 is {bundle_sha256(bundle)}, that of the version {digest}",
            where=str(bundle),
            mend="find out who changed it; restore it from a backup, or remove it and register the model again",
        )
    if manifest.get("kind") not in ("bundle", HYBRID, FUSION, EXPERTS) and voice(manifest.get("kind")) is None:
        mend = "take the output of the stage `register`, or a saved voice"
        raise BadInput("this is not a model bundle", where=str(bundle), mend=mend)
    _refuse_unsafe(bundle)
    return manifest


def decoding_of(bundle: Path, mode: Mode | None = None) -> Decoding:
    """The settings that a bundle's model was evaluated with; a saved voice has none, and gets the defaults.

    mode: who answers instead of whom the bundle names. Raises `BadInput` for one that it does not hold.
    """
    decoding = Decoding.of(_section(bundle, "evaluate"))
    if mode is None:
        return decoding
    held = modes_of(bundle)
    if mode not in held:
        what = f"it answers in the mode {' or '.join(held)} alone" if held else "it is no bundle, and has no modes"
        mend = "leave --mode out, or take a bundle of a run with the stage `rank`"
        raise BadInput(f"there is no mode {mode!r} in this model: {what}", where=str(bundle), mend=mend)
    return replace(decoding, mode=mode)


def modes_of(bundle: Path) -> tuple[Mode, ...]:
    """Who can answer: all of `Mode` where there is a ranker, nobody by such a name in a saved voice."""
    if not (bundle / FACTS).is_file():
        return ()
    return get_args(Mode) if (bundle / HYBRID).is_dir() else ("generate",)


def wording_of(bundle: Path) -> Wording:
    """The sentences of the language that a bundle was registered with; English of what has none."""
    return Wording.of(_section(bundle, "register").get("language", "en"))


def gives_reasons(bundle: Path) -> bool:
    """Whether answers of a bundle say why, as it was registered (`register.reasons`)."""
    return bool(_section(bundle, "register").get("reasons", True))


def _section(bundle: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(bundle / PARAMS).get(name, {}) if (bundle / PARAMS).is_file() else {}
    return found


def beams_note(decoding: Decoding, k: int) -> str:
    """What is said beside an answer that takes more beams than its model was evaluated with; "" where it does not."""
    if k <= decoding.beams:
        return ""
    return f"searched with {k} beams instead of the {decoding.beams} of the evaluation, as {k} items are wanted"


def bundle_sha256(bundle: Path) -> str:
    """What identifies a bundle: the SHA-256 of its manifest, which holds the SHA-256 of every file."""
    return sha256(bundle / MANIFEST)


def _write_items(items_clean: Path, id_table: Path, path: Path) -> None:
    import polars as pl

    parquet.read(items_clean, ["item_id", "title"])
    items = pl.DataFrame(parquet.read(items_clean)).sort("item_id")  # with its texts, by which new items are added
    if items["item_id"].to_list() != sorted(parquet.read(id_table, ["item_id"])["item_id"].to_pylist()):
        raise BadInput(
            "the ID table and the catalogue hold different items",
            where=f"{id_table} and {items_clean}",
            mend="run the stage `index` again",
        )
    items.write_parquet(path, compression="zstd", statistics=False)


def _refuse_unsafe(directory: Path) -> None:
    for file in sorted(directory.rglob("*")):
        if file.suffix.lower() in _UNSAFE or file.is_symlink():
            raise BadInput(
                "a bundle holds neither code nor pickles nor links",
                where=str(file),
                mend="save weights as safetensors and tables as Parquet",
            )

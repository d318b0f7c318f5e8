"""Relations and media of the items that anyone touched -> a vector and words for each item: the stage `views`.

    python -m components views

Without relations and media it writes an empty folder of vectors and no word, and imports neither torch nor Pillow.
No split, target or count is read: an item has the same view whoever takes it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.errors import BadInput
from components.progress import Progress
from components.settings.params import Ingest
from components.settings.views import RELATIONS, Media, Views
from components.storage import parquet
from components.storage.artifacts import publish_json, publishing_together
from components.storage.layout import Layout
from components.storage.thumbnails import SCHEMA
from components.views import thumbnails

WORDS = pa.schema([("item_id", pa.string()), ("column", pa.string()), ("words", pa.list_(pa.string()))])
_MEDIA = ["view", "item_id", "kind", "file", "digest", "problem", "numbers", "labels"]
_SHOWN = 10


@dataclass
class Made:
    """What was made so far."""

    vectors: dict[str, Any] = field(default_factory=dict)
    bases: dict[str, Any] = field(default_factory=dict)
    """What the vectors were made by, for items that come later."""
    words: dict[str, list[list[str]]] = field(default_factory=dict)
    """Column -> [items] words."""
    report: dict[str, Any] = field(default_factory=dict)


def build(
    settings: Views,
    ingest: Ingest,
    raw: Path,
    layout: Layout,
    *,
    seed: int,
    progress: Progress | None = None,
    whole: bool = False,
) -> dict[str, Any]:
    """Publish vectors, words and the report, and return the report, whose `in_words` a person has to know.

    `raw`: the folder of the raw files. whole: of all items of the catalogue, those that nobody took among them. Raises
    `BadInput` for a setting that names no view, a model that cannot be read, or files of a medium that went away since
    `ingest`.
    """
    relations, media = parquet.read(layout.relations), parquet.read(layout.media)
    made = Made()
    small = SCHEMA.empty_table()
    item_ids: list[str] = []
    if relations.num_rows or media.num_rows:
        item_ids = _item_ids(layout.items if whole else layout.interactions)
        place = {item_id: row for row, item_id in enumerate(item_ids)}
        names = sorted(set(media["view"].to_pylist()))
        kinds = sorted(set(relations["relation"].to_pylist()))
        _check(settings, names, kinds)
        if relations.num_rows:
            _relations(made, settings, relations, place, seed)
        for name in names:
            if settings.only is None or name in settings.only or name in settings.words:
                own = media.filter(pc.equal(media["view"], name))
                _medium(made, name, own, place, settings, ingest.media[name], raw, layout, seed, progress or Progress())
        small = thumbnails.made(media, place, ingest.media, raw, settings, progress)
    elif settings.words or settings.only or settings.control:
        raise BadInput(
            "views.words, views.only or views.control names views, and there are none",
            where="params.yaml: views",
            mend="set ingest.relations or ingest.media; `idiom init` recognises a table of relations",
        )
    report = {"views": made.report, "items": len(item_ids)}
    report["in_words"] = _in_words(made.report, settings)
    outputs = (layout.views, layout.view_words, layout.thumbnails, layout.views_report)
    with publishing_together(*outputs) as (to, words_to, small_to, report_to):
        _save(to, item_ids, made)
        pq.write_table(_words(made.words, item_ids), words_to, compression="zstd")
        pq.write_table(small, small_to, compression="zstd")
        publish_json(report_to, report)
    return report


def _item_ids(table: Path) -> list[str]:
    """Ids of the items of the catalogue, or of those that an interaction names, sorted."""
    found: set[str] = set()
    for batch in parquet.batches(table, ["item_id"]):
        found.update(batch.column(0).unique().drop_null().to_pylist())
    return sorted(found)


def _check(settings: Views, media: list[str], relations: list[str]) -> None:
    views = [*media, *([RELATIONS] if relations else [])]
    for key, given, known in (
        ("only", settings.only or [], views),
        ("words", settings.words, [*relations, *media]),
        ("control", list(settings.control), [*views, *relations]),
    ):
        if unknown := sorted(set(given) - set(known)):
            raise BadInput(
                f"views.{key} names {unknown[0]!r}, which is none",
                where=f"params.yaml: views.{key}",
                mend=f"here it may name {', '.join(known)}",
            )
    if twice := sorted(set(media) & set(relations)):
        mend = "call the medium otherwise in ingest.media"
        raise BadInput(f"{twice[0]!r} is a medium and a relation", where="params.yaml: ingest.media", mend=mend)
    for name, control in settings.control.items():
        if control == "rewired" and name in media:
            mend = "set it to shuffled"
            raise BadInput(f"{name} has no relations to rewire", where="params.yaml: views.control", mend=mend)


def _relations(made: Made, settings: Views, table: pa.Table, place: dict[str, int], seed: int) -> None:
    from components.views import edges
    from components.views.control import rewired

    heads, relations, ends = (table[name].to_pylist() for name in ("head", "relation", "tail"))
    triples, names, tails = edges.numbered(heads, relations, ends, place)
    triples = rewired(triples, len(place), names, settings.control, settings.control.get(RELATIONS), seed)
    counted = Counter(triples[1].tolist())
    made.report[RELATIONS] = {
        "items": len(set(triples[0].tolist())),
        "edges": {name: counted[number] for number, name in enumerate(names)},
        "tails": len(tails),
        "control": settings.control.get(RELATIONS)
        or {name: settings.control[name] for name in names if name in settings.control},
    }
    for number, name in enumerate(names):
        if name in settings.words:
            made.words[name] = [[] for _ in place]
            for row, kind, tail in zip(*(each.tolist() for each in triples), strict=True):
                if kind == number and tails[tail] not in made.words[name][row]:
                    made.words[name][row].append(tails[tail])
    if settings.only is None or RELATIONS in settings.only:
        weighted = edges.weighted(triples, len(place), names)
        made.vectors[RELATIONS] = weighted
        if settings.relations == "svd":
            made.vectors[f"{RELATIONS}_svd"] = edges.decomposed(weighted, settings.dims)


def _medium(
    made: Made,
    name: str,
    table: pa.Table,
    place: dict[str, int],
    settings: Views,
    medium: Media,
    raw: Path,
    layout: Layout,
    seed: int,
    progress: Progress,
) -> None:
    """Vectors, words and report of one medium."""
    import numpy as np

    from components.views.control import taken_from
    from components.views.reduce import Basis

    work = layout.work("views")
    rows = [place.get(item_id) for item_id in table["item_id"].to_pylist()]
    # Of a folder with pictures and sounds what most items have.
    kind = min(Counter(table["kind"].to_pylist()).items(), key=lambda each: (-each[1], each[0]))[0]
    wants_vectors = settings.only is None or name in settings.only
    control = settings.control.get(name)
    about: dict[str, Any] = {"kind": kind, "control": control}
    made.report[name] = about
    if kind == "labels":
        _labels(made, name, table, place, settings, seed, about, wants_vectors)
        return
    colours = None
    if kind == "numbers":
        numbers = [(row, each) for row, each in zip(rows, table["numbers"].to_pylist(), strict=True) if row is not None]
        raw_vectors = np.zeros((len(place), len(numbers[0][1]) if numbers else 1), np.float32)
        present = np.zeros(len(place), bool)
        for row, vector in numbers:
            raw_vectors[row], present[row] = vector, True
        standardised = True
    else:
        found = _of_files(name, table, rows, len(place), settings, medium, raw, layout.workspace, work, progress, about)
        raw_vectors, colours, present, standardised = found
    source = taken_from(present, control, seed, name)
    if wants_vectors:
        made.bases[name] = Basis.of(raw_vectors, present, settings.dims, standardised=standardised)
        vectors = made.bases[name].read(raw_vectors, present)
        made.vectors[name] = vectors[source] if control else vectors
        about["dims"] = int(vectors.shape[1])
    about["items"] = int(present.sum())
    if name in settings.words:
        if colours is None:
            mend = "name relations, labels or pictures in views.words"
            raise BadInput(f"{name} has no words: it is {kind}", where="params.yaml: views.words", mend=mend)
        from components.views.colours import words

        made.words[name] = [words(colours[source[row]]) if present[row] else [] for row in range(len(place))]


def _of_files(
    name: str,
    table: pa.Table,
    rows: list[int | None],
    items: int,
    settings: Views,
    medium: Media,
    raw: Path,
    workspace: Path,
    work: Path,
    progress: Progress,
    about: dict[str, Any],
) -> tuple[Any, Any, Any, bool]:
    """Raw vectors, colours where words are asked for, who has some, and whether numbers are standardised."""
    import numpy as np

    from components.media.files import Source
    from components.views.colours import Colours
    from components.views.encode import File, encoded

    files: list[File | None] = [None] * items
    facts = zip(rows, *(table[column].to_pylist() for column in ("kind", "file", "digest", "problem")), strict=True)
    refused: Counter[str] = Counter()
    shown: list[str] = []
    kind = about["kind"]
    for row, its_kind, file, digest, problem in facts:
        if row is None:
            continue
        if problem is None and its_kind != kind:
            problem = f"another kind: {its_kind} among {kind}s"
        if problem is None:
            files[row] = File(file, digest)
        else:
            refused[problem.split(":")[0]] += 1
            shown += [f"{file} ({problem})"] if len(shown) < _SHOWN else []
    work.mkdir(parents=True, exist_ok=True)
    colours = None
    with Source.open(raw / str(medium.files)) as source:
        encoder = None if kind == "sound" else encoder_of(settings, work, workspace)
        found, problems = encoded(files, source, encoder, work, medium, settings, progress, name)
        if kind == "picture" and name in settings.words:
            colours = found if isinstance(encoder, Colours) else None
            if colours is None:
                colours, _ = encoded(files, source, Colours(), work, medium, settings, progress, f"{name}-colours")
    for row, problem in problems.items():
        refused[problem.split(":")[0]] += 1
        file_of = files[row]
        shown += [f"{file_of.name} ({problem})"] if file_of and len(shown) < _SHOWN else []
    present = np.array([file is not None and row not in problems for row, file in enumerate(files)])
    about |= {"refused": dict(refused), "such_as": shown}
    return found, colours, present, kind == "sound"


def encoder_of(settings: Views, work: Path, workspace: Path) -> Any:
    """What reads pictures, as `views.pictures` says."""
    if settings.pictures == "colours":
        from components.views.colours import Colours

        return Colours()
    if settings.pictures == "efficientnet":
        from components.views import efficientnet

        return efficientnet.load(work)
    from components.views import transformer

    return transformer.load(workspace / str(settings.model))


def _labels(
    made: Made,
    name: str,
    table: pa.Table,
    place: dict[str, int],
    settings: Views,
    seed: int,
    about: dict[str, Any],
    wants_vectors: bool,
) -> None:
    from components.views import edges
    from components.views.control import rewired

    heads, tails = [], []
    for item_id, labels in zip(table["item_id"].to_pylist(), table["labels"].to_pylist(), strict=True):
        heads += [item_id] * len(labels)
        tails += labels
    triples, names, spoken = edges.numbered(heads, [name] * len(heads), tails, place)
    triples = rewired(triples, len(place), names, {}, settings.control.get(name), seed)
    about |= {"items": len(set(triples[0].tolist())), "labels": len(spoken)}
    if wants_vectors:
        made.vectors[name] = edges.weighted(triples, len(place), names)
    if name in settings.words:
        made.words[name] = [[] for _ in place]
        for row, tail in zip(triples[0].tolist(), triples[2].tolist(), strict=True):
            made.words[name][row].append(spoken[tail])


def _save(folder: Path, item_ids: list[str], made: Made) -> None:
    if made.vectors:
        from components.storage.vectors import BASIS, save

        save(folder, item_ids, made.vectors)
        for name, basis in made.bases.items():
            basis.save(folder / f"{name}{BASIS}")
        return
    folder.mkdir()
    publish_json(folder / "views.json", {})


def _words(words: dict[str, list[list[str]]], item_ids: list[str]) -> pa.Table:
    rows = [
        {"item_id": item_id, "column": column, "words": own}
        for column, all_ in words.items()
        for item_id, own in zip(item_ids, all_, strict=True)
        if own
    ]
    return pa.Table.from_pylist(rows, schema=WORDS)


def _in_words(report: dict[str, Any], settings: Views) -> list[str]:
    lines = []
    for name, about in report.items():
        if about.get("refused"):
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in about["refused"].items())
            lines.append(f"{name}: files that cannot be used: {reasons} ({', '.join(about['such_as'])}).")
    for name, control in settings.control.items():
        lines.append(f"{name} is {control} on purpose (views.control): a control, not a model to publish.")
    return lines

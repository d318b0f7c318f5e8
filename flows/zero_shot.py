"""`idiom zero-shot` recommends for a folder of an unknown shop without any training; `idiom foundation` teaches a
ranker on other shops for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from components.console import Console
from components.errors import BadInput, GateRefused
from components.progress import reporting
from components.settings.decoding import Decoding
from components.storage.artifacts import publish_json
from flows.initialise import settings_of

if TYPE_CHECKING:
    from components.zero_shot import Opened

Say = Callable[[str], None]
_SHOWN = 3
"""Histories whose first recommendations are shown."""


def zero_shot(
    path: Path,
    out: Path,
    *,
    foundation: Path | None,
    bundle: Path | None,
    writer: Path | None,
    tier: str | None,
    k: int,
    judge_users: int,
    say: Say,
    keep: bool = False,
) -> None:
    """Read the shop in `path` into the workspace `out`, save the recommender there, show and judge it.

    keep: by `out`/params.yaml as it stands, if it is there; else the files are recognised and it is written. Raises
    `StageError` for data that cannot be read, and for a foundation or a bundle that is none. Why a shop cannot be
    judged is said, and the recommender stands.
    """
    from components import zero_shot as rooms

    if bundle is not None and writer is not None:
        raise BadInput("two are named to write the IDs", where="--bundle and --writer", mend="give one of them")
    asked = None if tier is None else rooms.tier_of(tier)
    ranker = None if foundation is None else rooms.load_foundation(foundation)
    params = settings_of(path, out, say, keep=keep)
    with reporting(Console()) as progress:
        rooms.read(out, params)
        params = rooms.look(out, params, progress)
        opened = rooms.open_shop(out, params, bundle=bundle, writer=writer, progress=progress)
        chosen = asked or opened.tier
        answers = opened.choice(ranker, progress) if chosen == "stream" else None
        recommender = opened.recommender(chosen, ranker, progress, chosen=answers)
        recommender.save(out / "recommender")
        _show(opened, recommender, k, say)
        if answers is not None:
            say(answers.in_words())
        usual = "foundation" if ranker else "fixed_weights"
        say(f"saved    {out / 'recommender'} ({chosen}, {answers.name if answers else usual})")
        say(f"ask it   idiom recommend ITEM_ID ... --bundle {out / 'recommender'}")
        judged = {}
        if judge_users and len(opened.learned.histories.values):
            try:
                named = opened.learned.catalogue
                judged = rooms.judge(
                    out, params, ranker, most_users=judge_users, bundle=bundle, named=named, progress=progress
                )
            except (BadInput, GateRefused) as error:  # too young a shop, say: what is saved stands without a figure
                say(f"not judged: {error}")
    for line in rooms.table(judged):
        say(line)
    facts = {each: found.facts() for each, found in judged.items()}
    who = {"answers": asdict(answers)} if answers else {}
    report = {"tier": chosen, **who, "ids": dict(opened.ids), "trie_nodes": opened.trie_nodes, "judged": facts}
    publish_json(out / "report.json", report)


def foundation(
    paths: Sequence[Path],
    out: Path,
    *,
    users: int,
    encoder: str | None,
    weights: Path | None,
    weight_users: int,
    say: Say,
    keep: bool = False,
) -> None:
    """Teach a foundation ranker on the shops in `paths`, with an encoder of texts where one is named, and save it in
    `out`; with `weights` choose those of the sums too and write them there. keep: of each source, as in `zero_shot`."""
    from components import zero_shot as rooms
    from components.settings.foundation import Foundation as Settings

    chosen = Settings(most_users=users, encoder=encoder)
    sources = []
    _distinct(paths)
    for path in paths:
        workspace = out.parent / f"{out.name}-sources" / path.resolve().name
        params = settings_of(path, workspace, say, keep=keep)
        rooms.read(workspace, params)
        sources.append((params.dataset, workspace, params))
    seed = sources[0][2].seed
    with reporting(Console()) as progress:
        asked = weight_users if weights is not None else 0
        taught, found = rooms.teach(sources, chosen, seed=seed, weight_users=asked, progress=progress)
    if weights is not None:
        names = (path.resolve().name for path in paths)
        command = " ".join(["idiom foundation", *names, "--weights", weights.name])
        publish_json(weights, {"made_by": command, "users": weight_users, "seed": seed, "weights": found})
        say(f"written  {weights}")
    taught.save(out)
    say(f"saved    {out}")


def _distinct(paths: Sequence[Path]) -> None:
    """Raises `BadInput` for two sources of one name: the second would take the place of the first, and teach twice."""
    from components.data.ingest.sniff import dataset_name

    named: dict[str, Path] = {}
    for path in paths:
        name = dataset_name(path)
        if name in named:
            mend = "give each source once, in a folder of its own name (a link of another name will do)"
            raise BadInput(f"two sources are called {name}", where=f"{named[name]} and {path}", mend=mend)
        named[name] = path


def _show(opened: Opened, recommender: object, k: int, say: Say) -> None:
    from components.registry.answers import Answers

    asked, _ = opened.histories(_SHOWN)
    ids = opened.learned.catalogue.table.item_ids
    asked = asked or [[each] for each in ids[:_SHOWN]]
    titles = opened.learned.catalogue.titles
    answers = Answers(recommender, Decoding())(asked, [k] * len(asked))  # type: ignore[arg-type]
    for history, answer in zip(asked, answers, strict=True):
        say(f"After {', '.join(titles.get(item) or item for item in history[-2:])}:")
        columns = (answer[name] for name in ("textual_ids", "titles", "reasons", "evidence"))
        for place, (words, title, reason, evidence) in enumerate(zip(*columns, strict=True), 1):
            say(f"{place:>3}. {words}  ({title})")
            if evidence[0]["kind"] != "none":
                say(f"     {reason}")

"""The adaptation curve of a shop that a model was adapted to: connects the rooms for `idiom adapt --curve`.

    sizes = numbers(workspace, params, ["10", "30", "all"])         # after `clean`, before anything is trained
    found = curve(workspace, params, sizes, draws=5, foundation=None, progress=progress)      # after `evaluate`
    lines = publish(workspace, params, found)                       # curve.json, and the report once more

So many of the shop's users are drawn as if they were all that is known, and each way to recommend learns from them
alone; all are asked the same test users, of those that `evaluate` asks. Nothing is chosen by these.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components import adapt, zero_shot
from components.errors import BadInput
from components.progress import Progress
from components.settings.file import from_dict
from components.settings.params import Index, Params
from components.settings.train import Train
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from components.storage.manifest import sha256

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from components.evaluation.arrays import Cases
    from components.foundation.curve import Young
    from components.foundation.foundation import Foundation
    from components.foundation.judging import Ranks

ModelWay = Literal["full", "lora", "prompt", "scratch"]
MODEL_WAYS: tuple[ModelWay, ...] = (*adapt.WAYS, "scratch")
"""Ways of the language model: adapted from the start as `idiom adapt` does, or begun anew."""
ANSWERS = "answers"
"""The way that answers in the end: what `evaluate` judged as the model, which knows all users."""
_WORDS = "ids.tsv"


def model_ways(asked: Sequence[str]) -> list[ModelWay]:
    """Raises `BadInput` for what is no way of the language model."""
    for each in asked:
        if each not in MODEL_WAYS:
            mend = f"give some of {', '.join(MODEL_WAYS)}; the ways without one are always there"
            raise BadInput(f"{each!r} is no way of the language model", where="--curve-ways", mend=mend)
    return [way for way in MODEL_WAYS if way in asked]


def understood(asked: Sequence[str]) -> None:
    """Raises `BadInput` for a number of users that is none, before anything is read."""
    from components.foundation.curve import number_of

    for each in asked:
        number_of(each, 1)


def numbers(workspace: Path, params: Params, asked: Sequence[str]) -> list[int]:
    """How many users each point knows, by the tables that `clean` published. Raises `BadInput` for more than there
    are."""
    from components.foundation.curve import sizes
    from components.storage import parquet

    users = parquet.read(Layout(workspace, params.dataset).histories, ["user_id"]).num_rows
    return sizes(asked, users)


def curve(
    workspace: Path,
    params: Params,
    counts: Sequence[int],
    *,
    draws: int,
    foundation: Path | None,
    ways: Sequence[ModelWay] = (),
    epochs: int = 4,
    steps: int = 0,
    most_users: int = 2000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What curve.json holds: `curve.USERS.WAY` as `foundation.curve.point` has it, `answers` of the evaluation, and who
    is asked. With nobody and with everybody there is one draw.

    ways: of the language model, beside those without one; each learns as `idiom adapt` does, at least `epochs` and
    `steps`. most_users: of the users whom `evaluate` asked, chosen by a hash.
    """
    from components.foundation.curve import drawn, point
    from components.foundation.foundation import Foundation

    shop = _Shop.read(workspace, params, most_users)
    ranker = None if foundation is None else Foundation.load(foundation)
    found: dict[str, dict[str, Any]] = {}
    text: list[Ranks] = []
    for count in (progress or Progress()).track(counts, "adaptation curve"):
        once = count in (0, shop.users)
        each = [drawn(shop.users, count, draw, params.seed) for draw in range(1 if once else draws)]
        ranks = [shop.ranks(rows, ranker, ways, epochs=epochs, steps=steps) for rows in each]
        text = [one["text"] for one in ranks]
        of_way = {
            way: [(one[way], beside) for one, beside in zip(ranks, text, strict=True) if way in one]
            for way in dict.fromkeys(way for one in ranks for way in one)
        }
        found[str(count)] = {
            way: point([one for one, _ in pairs], [beside for _, beside in pairs]) for way, pairs in of_way.items()
        }
    return {
        **{"users": shop.users, "test_users": len(shop.asked.targets), "draws": draws, "seed": params.seed},
        **{"ties": params.clean.ties, "masked": params.clean.drop_repeats, "curve": found},
        ANSWERS: point([shop.answered], text[:1]) | {"mode": read_json(shop.layout.mode)["mode"]},
        "metrics": sha256(shop.layout.metrics),
    }


def publish(workspace: Path, params: Params, found: Mapping[str, Any]) -> list[str]:
    """Write curve.json, and the report once more; lines for a terminal."""
    from components.evaluation import adaptation

    layout = Layout(workspace, params.dataset)
    adaptation.publish(layout, found)
    return [f"curve    {layout.curve}, and in {layout.report}", *(f"  {line}" for line in adaptation.sentences(found))]


@dataclass(frozen=True)
class _Shop:
    """Tables of a workspace, as what few users know of them is drawn."""

    layout: Layout
    params: Params
    asked: Cases
    young: Young

    @classmethod
    def read(cls, workspace: Path, params: Params, most_users: int) -> _Shop:
        import numpy as np

        from components.foundation.curve import Young
        from components.storage import parquet

        layout, everybody = Layout(workspace, params.dataset), params.evaluate.max_users
        most = min(most_users, everybody) if everybody else most_users
        learned, asked = zero_shot.split(workspace, params, on="test", most_users=most)
        _, valid = zero_shot.split(workspace, params, on="valid", most_users=0)
        users = sorted(parquet.read(layout.histories, ["user_id"])["user_id"].to_pylist())
        place = {user: row for row, user in enumerate(users)}
        owners = np.array([place[user] for user in valid.user_ids])
        held = [zero_shot.held_of(each) for each in (valid, asked)]
        core = zero_shot.core_of(params)
        known = replace(learned, views={})  # neither a foundation ranker nor the fixed weights know any
        young = Young(known, held[0], owners, held[1], core, params.clean.drop_repeats)
        return cls(layout, params, asked, young)

    @property
    def users(self) -> int:
        return len(self.young.learned.histories)

    @property
    def answered(self) -> Ranks:
        """[asked] ranks of what answers with all users, as `evaluate` found them."""
        import polars as pl

        from components.storage import parquet

        column = f"model_{'masked' if self.params.clean.drop_repeats else 'unmasked'}"
        table = pl.DataFrame(parquet.read(self.layout.per_user, ["user_id", column]))
        asked = pl.DataFrame({"user_id": self.asked.user_ids})
        assert asked["user_id"].is_in(table["user_id"].implode()).all(), (
            "a hash's smaller sample lies in the larger one"
        )
        found = asked.join(table, on="user_id", how="left", maintain_order="left")[column]
        return found.fill_null(0).to_numpy().astype("int64")

    def ranks(
        self,
        rows: NDArray[np.int64],
        foundation: Foundation | None,
        ways: Sequence[ModelWay],
        *,
        epochs: int,
        steps: int,
    ) -> dict[str, Ranks]:
        """Way -> ranks of one draw; a way that nobody taught is missing."""
        from components.recommender.engine import Engine

        found: dict[str, Ranks] = self.young.ranks(rows, foundation)
        start = self.layout.workspace / "work" / adapt.START
        for way in ways:
            if not len(rows):
                if way != "scratch":
                    found[way] = adapt.ranks(Engine.load(start), self.asked)
                continue
            with tempfile.TemporaryDirectory() as folder:
                few = Layout(Path(folder), self.params.dataset)
                tables = self._tables()
                tables_of(few, *tables, tables[1].sort("user_id")[rows]["user_id"])
                words_of(self.layout.id_table, Path(folder) / _WORDS)
                how: dict[str, Any] = {"epochs": epochs, "steps": steps, "seed": self.params.seed}
                how |= {"ids": Path(folder) / _WORDS, "drop_repeats": self.params.clean.drop_repeats}
                taught(few, way, start, **how)
                found[way] = adapt.ranks(Engine.load(few.pair), self.asked)
        return found

    def _tables(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        import polars as pl

        from components.storage import parquet

        paths = (self.layout.items_clean, self.layout.histories, self.layout.valid_targets)
        items, histories, valid = (pl.DataFrame(parquet.read(path)) for path in paths)
        return items, histories, valid


def tables_of(
    layout: Layout, items: pl.DataFrame, histories: pl.DataFrame, valid: pl.DataFrame, users: pl.Series
) -> None:
    """Write the clean tables of a shop with these users alone."""
    import polars as pl

    layout.items_clean.parent.mkdir(parents=True)
    items.write_parquet(layout.items_clean)
    kept = pl.col("user_id").is_in(users.implode())
    histories.filter(kept).write_parquet(layout.histories)
    valid.filter(kept).write_parquet(layout.valid_targets)


def words_of(table: Path, out: Path) -> None:
    """An ID table as a file that `train.imported_ids` takes."""
    from components.textid.table.id_table import IdTable

    ids = IdTable.load(table)
    rows = zip(ids.item_ids, ids.words, strict=True)
    out.write_text("item_id\twords\n" + "".join(f"{item}\t{words}\n" for item, words in rows), encoding="utf-8")


def taught(
    layout: Layout,
    way: ModelWay,
    start: Path,
    *,
    ids: Path,
    epochs: int,
    steps: int,
    seed: int,
    drop_repeats: bool,
) -> None:
    """Train the pair of a shop's clean tables: from `start`, or from scratch with the start's size, rate and the IDs in
    the file `ids`. At least `epochs`, and so many that there are `steps`."""
    from components.training.job import Job
    from components.training.run import train

    facts = read_json(start / "pair.json")["train"]
    epochs = adapt.epochs_of(facts, layout, epochs, steps)
    base = from_dict({"train": adapt.adapting({"train": facts}, "start", "full", epochs=epochs)["train"]}).train
    if way == "scratch":
        phase = replace(base.recommender, epochs=epochs)
        given: dict[str, Any] = {"ids": "imported", "imported_ids": ids.name, "rounds": 1, "recommender": phase}
        how: Train = replace(base, start=None, start_elsewhere=False, **given)
    else:
        more = adapt.adapting({"train": facts}, "start", way, epochs=epochs)["train"]
        how = replace(from_dict({"train": more}).train, start_elsewhere=False)
    train(
        Job(
            items_clean=layout.items_clean,
            histories=layout.histories,
            valid_targets=layout.valid_targets,
            out=layout.pair,
            work=layout.work("curve"),
            train=how,
            index=Index(),
            seed=seed,
            train_key="curve",
            drop_repeats=drop_repeats,
            imported_ids=ids if way == "scratch" else None,
            start=None if way == "scratch" else start,
        ),
        Progress(),
    )

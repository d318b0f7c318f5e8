"""`idiom promote` and `idiom rollback`: what is asked, decided and written down. The models are made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import components.voices.load
from components.errors import BadInput
from components.evaluation.comparison.sides import Side
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation
from components.registry.champion import DECISION, PROVISIONAL
from components.registry.evidence import Served
from components.registry.promotion import HISTORY, aliases
from components.registry.requests import MAX_K
from components.registry.store import connect
from components.settings.decoding import Decoding
from components.settings.file import from_dict, load
from components.storage.artifacts import read_json
from components.textid.table.id_table import IdTable
from flows import promote as flow
from flows.cli import app
from tests.evaluation.comparison.made import ITEMS, side
from tests.registry.workspace import empty_store

USERS = 600
SERVED = flow._served
CATALOGUE = Catalogue(IdTable(tuple(ITEMS), tuple(f"old {item}" for item in ITEMS), tuple((n,) for n in range(60))))


@dataclass
class Asked:
    """A champion that gives the lists it was made with, in the order of the users."""

    lists: list[list[str]]
    catalogue: Catalogue = CATALOGUE

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int, decoding: Decoding, progress: Any = None, times: Any = None
    ) -> list[list[Recommendation]]:
        rows = self.lists if len(histories) == len(self.lists) else [["i001"]] * len(histories)
        return [[Recommendation(item, "", 0.0) for item in row] for row in rows]


@dataclass
class Shop:
    """A workspace with two registered versions; `sides` are their evaluations, `served` what a clean process says."""

    folder: Path
    client: Any
    sides: dict[str, Side]
    facts: dict[str, Any] = field(default_factory=dict)
    served: list[list[str]] | None = None

    def idiom(self, *words: str) -> Any:
        return CliRunner().invoke(app, [*words, "-w", str(self.folder)])

    def write(self, **rules: Any) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump({"dataset": "tiny", "promote": rules}))

    @property
    def aliases(self) -> dict[str, str]:
        return aliases(self.client, "idiom")


def evaluated(found: float, seed: int) -> Side:
    """An evaluation in which a share `found` of the users has the target first; the item graph has a tenth."""
    ranks = (np.random.default_rng(seed).random(USERS) < found).astype(int)
    made = side(f"version {seed}", ranks, protocol={"headline": "unmasked", "headline_k": 10, "depth": 20,
                                                    "training": "strict", "seed": 17})  # fmt: skip
    graph = made.users.select("user_id", "target", rank=(made.users["user_id"].rank("ordinal") % 10 == 0).cast(int))
    return Side(**{**vars(made), "baselines": {"item_graph": graph}})


def with_targets_in_histories(made: Side) -> Side:
    """The same, as if the split had left the targets of 40 users in what was learned from."""
    users = made.users.with_row_index("row")
    told = pl.when(pl.col("row") < 40).then(pl.concat_list("prompt", "target")).otherwise("prompt")
    return Side(**{**vars(made), "users": users.with_columns(prompt=told).drop("row")})


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copyfile(empty_store(), tmp_path / "mlflow.db")
    client = connect(tmp_path)
    run = client.create_run(client.create_experiment("tiny", (tmp_path / "mlartifacts").as_uri())).info.run_id
    client.create_registered_model("idiom")
    for number in ("1", "2"):
        client.create_model_version("idiom", source=str(tmp_path), run_id=run, description=f"version {number}")
    client.set_registered_model_alias("idiom", "champion", "1")
    client.set_registered_model_alias("idiom", "challenger", "2")
    made = Shop(tmp_path, client, {"1": evaluated(0.2, 1), "2": evaluated(0.3, 2)})
    made.write()

    def serve(workspace: Path, name: str, version: str, histories: Any, *, k: int) -> Served:
        if made.served is not None:
            return Served(made.served[: len(histories)], 5.0, 300.0)
        users = made.sides[version].users
        rows = dict(zip(map(tuple, users["prompt"].to_list()), users["recommended"].to_list(), strict=True))
        by_prompt = [rows[tuple(history)] for history in histories]
        return Served(by_prompt, 5.0, 300.0)

    facts = {"broken_rules": [], "churn": 0.1, "bundle_mb": 10.0, "validation": 0.2, "own_words": 1.0}
    monkeypatch.setattr(flow, "_side", lambda workspace, params, version: made.sides[version])
    monkeypatch.setattr(flow, "version_bundle", lambda workspace, params, version: Path(version))
    monkeypatch.setattr(flow, "of_bundle", lambda bundle, old, *, metric: {**facts, **made.facts})
    monkeypatch.setattr(flow, "decoding_of", lambda bundle: Decoding())
    monkeypatch.setattr(flow, "drops_repeats", lambda bundle: True)
    monkeypatch.setattr(flow, "_served", _matching(serve))
    lists = {name: each.users["recommended"].to_list() for name, each in made.sides.items()}
    monkeypatch.setattr(components.voices.load, "load", lambda bundle, **_: Asked(lists[bundle.name]))
    return made


def _matching(serve: Any) -> Any:
    """`_served` with another way to ask, as prompts of made-up users repeat."""

    def served(workspace: Path, params: Any, new: Side, version: str) -> tuple[Served, str]:
        chosen = new.users[:5]
        answer = serve(workspace, "idiom", version, chosen["prompt"].to_list(), k=20)
        return answer, "" if answer.lists is not None and len(
            answer.lists
        ) == 5 else "a clean process serves other lists"

    return served


def test_a_better_version_becomes_champion(shop: Shop) -> None:
    """Prevents a promotion without reasons, page, record or way back."""
    done = shop.idiom("promote")
    assert done.exit_code == 0, done.output
    assert "version 2 is promoted; the champion was version 1" in done.output and "REFUSED" not in done.output
    assert shop.aliases == {"champion": "2", "previous": "1"}
    decision = read_json(shop.folder / "artifacts/tiny/promote/1-2/decision.json")
    assert decision["accepted"] and decision["comparison"]["users"] == USERS
    assert "Promoted" in (shop.folder / "artifacts/tiny/promote/1-2/promotion.html").read_text()
    version = shop.client.get_model_version("idiom", "2")
    assert version.tags["idiom.promotion"] == "accepted" and version.description.startswith("**Promotion accepted**")
    assert version.description.endswith("version 2"), "what register wrote stays"
    names = {each.path for each in shop.client.list_artifacts(version.run_id, "comparison")}
    assert names == {"comparison/promotion-1-2.html"}
    assert len(json.loads(shop.client.get_registered_model("idiom").tags[HISTORY])) == 1
    assert [each.name for each in shop.client.search_registered_models()] == ["idiom"]
    again = shop.idiom("promote", "2")
    assert again.exit_code == 2 and "is the champion already" in again.output
    back = shop.idiom("rollback", "--why", "sales fell")
    assert back.exit_code == 0 and "champion: version 2 -> version 1" in back.output, back.output
    assert shop.aliases == {"champion": "1", "previous": "2"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sides": evaluated(0.2, 3)}, "lower bound"),
        ({"sides": evaluated(0.02, 4)}, "a model without training would do better"),
        ({"rules": {"min_users": 5000}}, "600 users to judge by"),
        ({"facts": {"broken_rules": ["unique as words"]}}, "the ID table breaks its contract: unique as words"),
        ({"facts": {"validation": 0.05}}, "was it taught the targets?"),
        ({"facts": {"own_words": 0.1}}, "the IDs are not those of their items"),
        ({"facts": {"other_tables": ["histories of the language model"]}}, "other tables than it is judged by"),
        ({"sides": with_targets_in_histories(evaluated(0.3, 2))}, "of 40 users stand in their own histories"),
        ({"facts": {"bundle_mb": 90.0}, "rules": {"max_bundle_mb": 50}}, "90.0 MB of bundle"),
        ({"served": [["other"]]}, "a clean process serves other lists"),
        ({"rules": {"slices": {"target: none such": 0.1}}}, "no user is in it"),
    ],
)
def test_a_version_that_must_not_become_champion_does_not(shop: Shop, change: dict[str, Any], said: str) -> None:
    """Prevents the champion from getting worse: each refusal has its reason, and nothing moves but the record."""
    shop.sides["2"] = change.get("sides", shop.sides["2"])
    shop.write(**change.get("rules", {}))
    shop.facts, shop.served = change.get("facts", {}), change.get("served")
    done = shop.idiom("promote")
    assert done.exit_code == 0 and "version 2 is refused" in done.output, done.output
    refusals = [line for line in done.output.splitlines() if "REFUSED" in line]
    assert any(said in line for line in refusals), done.output
    assert shop.aliases == {"champion": "1", "challenger": "2"}
    assert shop.client.get_model_version("idiom", "2").tags["idiom.promotion"] == "refused"
    assert shop.idiom("promote", "--require").exit_code == 3


def test_the_champion_is_not_asked_what_it_was_taught(shop: Shop) -> None:
    """Prevents a champion that looks better than it is, so that nothing ever replaces it."""
    old = shop.sides["1"].users
    taught = [[*prompt, target] for prompt, target in zip(old["prompt"][:50], old["target"][:50], strict=True)]
    prompts = [*taught, *old["prompt"][50:].to_list()]
    shop.sides["1"] = Side(**{**vars(shop.sides["1"]), "users": old.with_columns(prompt=pl_lists(prompts))})
    done = shop.idiom("promote")
    assert "50 users left out, whose target the champion may have been taught" in done.output, done.output
    assert read_json(shop.folder / "artifacts/tiny/promote/1-2/decision.json")["comparison"]["users"] == USERS - 50


def test_a_champion_that_was_taught_all_targets_is_said(shop: Shop) -> None:
    """Prevents: "evaluate both on the same data", where nobody is left to judge by."""
    old = shop.sides["1"].users
    taught = [[*prompt, target] for prompt, target in zip(old["prompt"], old["target"], strict=True)]
    shop.sides["1"] = Side(**{**vars(shop.sides["1"]), "users": old.with_columns(prompt=pl_lists(taught))})
    done = shop.idiom("promote")
    assert done.exit_code == 2 and "may have been taught the targets of all 600 users" in done.output, done.output
    assert shop.aliases == {"champion": "1", "challenger": "2"}


def test_a_store_that_fails_is_not_a_champion_of_an_earlier_version(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents users whose targets the champion was taught from counting, for MLflow was silent when it was asked."""
    side_of = flow._side

    def silent(workspace: Path, params: Any, version: str) -> Side:
        if version == "1":
            raise BadInput("MLflow does not answer", where="MLflow", mend="start it")
        return side_of(workspace, params, version)

    monkeypatch.setattr(flow, "_side", silent)
    done = shop.idiom("promote")
    assert done.exit_code == 2 and "MLflow does not answer" in done.output, done.output
    assert shop.aliases == {"champion": "1", "challenger": "2"}


def test_a_champion_with_another_cut_off_is_compared(shop: Shop) -> None:
    """Prevents: no version is ever judged after `evaluate.ks` was changed, as the page looks up what the champion's
    voices had at the new cut-off."""
    figure = {"difference": 0.01, "interval": [0.0, 0.02], "verdict": "better"}
    protocol = {"headline": "masked", "headline_k": 20, "depth": 50, "test_users": 321}
    alone = {"masked": {"hybrid": {"ndcg_at_20": 0.51}, "graph": {"ndcg_at_20": 0.4}}}
    voices = {"mode": "hybrid", "hybrid_over": {"graph": figure}, **alone, "protocol": protocol}
    shop.sides["1"] = Side(**{**vars(shop.sides["1"]), "voices": voices})
    done = shop.idiom("promote")
    assert done.exit_code == 0 and "version 2 is promoted" in done.output, done.output
    page = (shop.folder / "artifacts/tiny/promote/1-2/promotion.html").read_text()
    assert "NDCG@20 of the ranker over all voices, .5100" in page


def test_a_champion_of_another_shop_is_not_beaten_by_anything(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: under one name of a model, the first version of a second shop replaces the champion of the first, as
    that has no answer for people whose items it does not know."""
    other = Catalogue(IdTable(("x",), ("other",), ((0,),)))
    monkeypatch.setattr(components.voices.load, "load", lambda bundle, **_: Asked([[]] * USERS, other))
    done = shop.idiom("promote")
    assert done.exit_code == 2 and "knows no item of these users" in done.output, done.output
    assert shop.aliases == {"champion": "1", "challenger": "2"}


def test_a_server_is_asked_for_as_many_as_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: no version is ever promoted where `evaluate.ks` has a cut-off beyond 100, the most that is served."""
    made = evaluated(0.3, 2)
    lists = [[f"i{number}" for number in range(150)]] * USERS
    users = made.users.with_columns(recommended=pl_lists(lists))
    deep = Side(**{**vars(made), "users": users, "protocol": {**made.protocol, "depth": 150}})

    def serve(workspace: Path, name: str, version: str, histories: Any, times: Any, *, k: int) -> Served:
        assert k == MAX_K
        return Served([lists[0][:k] for _ in histories], 5.0, 300.0)

    monkeypatch.setattr(flow, "serve_once", serve)
    assert SERVED(Path(), from_dict({"dataset": "tiny"}), deep, "2")[1] == ""


def test_what_the_gain_cost_may_fail_once_the_alias_has_moved(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a promotion that is told as failed though it happened, of which no scoring is told then."""

    def failing(*_: Any) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(flow.cost, "log_promoted", failing)
    done = shop.idiom("promote")
    assert done.exit_code == 0 and "version 2 is promoted" in done.output, done.output
    assert shop.aliases["champion"] == "2"


def pl_lists(rows: list[list[str]]) -> Any:
    return pl.Series(rows, dtype=pl.List(pl.String))


def test_the_first_version_is_judged_without_a_champion(shop: Shop) -> None:
    """Prevents a registry without a champion that can never have one."""
    shop.client.delete_registered_model_alias("idiom", "champion")
    done = shop.idiom("promote")
    assert done.exit_code == 0 and "there is no champion yet" in done.output, done.output
    assert shop.aliases == {"champion": "2"}
    back = shop.idiom("rollback")
    assert back.exit_code == 2 and "no previous champion" in back.output


@pytest.mark.parametrize("fit", [True, False])
def test_a_champion_for_want_of_another_is_judged_once_more(shop: Shop, fit: bool) -> None:
    """Prevents a first version that is served for ever though no clean process can serve what was evaluated."""
    shop.client.delete_registered_model_alias("idiom", "challenger")
    assert flow.undecided(shop.folder, load(shop.folder / "params.yaml")) is None
    shop.client.set_model_version_tag("idiom", "1", DECISION, PROVISIONAL)
    assert flow.undecided(shop.folder, load(shop.folder / "params.yaml")) == "1"
    shop.served = None if fit else [["other"]]
    done = shop.idiom("promote", "1")
    assert done.exit_code == 0, done.output
    assert shop.aliases == ({"champion": "1"} if fit else {"challenger": "1"})
    assert flow.undecided(shop.folder, load(shop.folder / "params.yaml")) is None
    assert ("version 1 stays champion" if fit else "version 1 is refused") in done.output, done.output


def test_nothing_to_promote_is_said(shop: Shop) -> None:
    """Prevents a traceback where there is no challenger, or no model."""
    shop.client.delete_registered_model_alias("idiom", "challenger")
    done = shop.idiom("promote")
    assert done.exit_code == 2 and "there is no challenger" in done.output
    assert [each.name for each in shop.client.search_registered_models()] == ["idiom"], "the lock is given back"
    shop.client.delete_registered_model("idiom")
    assert "there is no model 'idiom'" in shop.idiom("promote").output
    assert "there is no model 'idiom'" in shop.idiom("rollback").output


def test_a_version_that_is_not_there_is_said_and_an_alias_is_its_version(shop: Shop) -> None:
    """Prevents a traceback of MLflow for a mistyped number, and for `idiom promote challenger`."""
    for words in (("promote", "99"), ("rollback", "99"), ("rollback", "no such alias")):
        done = shop.idiom(*words)
        assert done.exit_code == 2 and f"{words[1]!r} is no version or alias of 'idiom'" in done.output, done.output
    done = shop.idiom("promote", "champion")
    assert done.exit_code == 2 and "version 1 is the champion already" in done.output, done.output
    done = shop.idiom("promote", "challenger")
    assert done.exit_code == 0 and "version 2 is promoted" in done.output, done.output
    done = shop.idiom("rollback", "previous")
    assert done.exit_code == 0 and "champion: version 2 -> version 1" in done.output, done.output
    assert [each.name for each in shop.client.search_registered_models()] == ["idiom"], "the lock is given back"

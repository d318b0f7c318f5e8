"""The whole evaluation with recommenders whose right figures are known in advance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from components.errors import GateRefused
from components.evaluation import summary
from components.evaluation.arrays import Cases, cases
from components.evaluation.contenders import MODEL, baselines
from components.evaluation.evaluate import evaluate
from components.evaluation.examples import as_text, pick
from components.evaluation.figures import compare, headline_k
from components.evaluation.metrics import LEAST_USERS
from components.evaluation.metrics_file import read_metrics
from components.evaluation.slices import head_items, slices
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Times
from components.settings.decoding import Decoding
from components.settings.params import Evaluate
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from components.storage.manifest import sha256
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build

LIST = pl.List(pl.String)
ITEMS = [f"i{number:02}" for number in range(24)]
WORDS = {item: f"word {item}" for item in ITEMS}
# A ring: the item after i is i+1, so that an honest recommender knows the answer from the prompt alone.
SEQUENCES = {f"u{start:02}": [ITEMS[(start + step) % 24] for step in range(4 + start % 9)] for start in range(36)}
NEXT = {item: ITEMS[(place + 1) % 24] for place, item in enumerate(ITEMS)}


def tables() -> dict[str, pl.DataFrame]:
    users, rows = list(SEQUENCES), list(SEQUENCES.values())
    return {
        "items": pl.DataFrame({"item_id": ITEMS, "title": [None, *(f"Title {i} & <b>B</b>" for i in ITEMS[1:])]}),
        "histories": pl.DataFrame({"user_id": users, "history": [row[:-2] for row in rows]}),
        "valid": pl.DataFrame(
            {"user_id": users, "context": [[] for _ in rows], "target": [row[-2] for row in rows]},
            schema_overrides={"context": LIST},
        ),
        "test": pl.DataFrame(
            {"user_id": users, "context": [[row[-2]] for row in rows], "target": [row[-1] for row in rows]}
        ),
    }


Answers = list[list[str]]


def oracle(histories: Sequence[Sequence[str]], k: int, mask_seen: bool) -> Answers:
    """The right answer second, behind a fixed wrong one; in the unmasked variant the last item comes first."""
    lists = []
    for history in histories:
        right = NEXT[history[-1]]
        wrong = next(item for item in ITEMS if item not in history and item != right)
        first = [] if mask_seen else [history[-1]]
        lists.append([*first, wrong, right][:k])
    return lists


def silent(histories: Sequence[Sequence[str]], k: int, mask_seen: bool) -> Answers:
    return [[] for _ in histories]


class Answering(NamedTuple):
    """A recommender that answers as a function does."""

    catalogue: Catalogue
    answer: Callable[[Sequence[Sequence[str]], int, bool], Answers]

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        found = self.answer(histories, k, decoding.mask_seen)
        return [[Recommendation(item, "", 0.0) for item in row] for row in found]


def run(folder: Path, answer: Any = oracle, *, refit: bool = False, **settings: Any) -> dict[str, Any]:
    """The evaluation of a model that answers so, beside the real baselines."""
    chosen, frames, seed = Evaluate(**settings), tables(), 17
    asked = cases(**frames, refit=refit, max_users=chosen.max_users, seed=seed)
    table = IdTable(tuple(ITEMS), tuple(WORDS.values()), tuple((number,) for number in range(len(ITEMS))))
    catalogue = Catalogue(table, titles=dict(frames["items"].iter_rows()))
    voices = {name: build(name, Learned(catalogue, asked.train)) for name in baselines()}
    recommenders = {MODEL: Answering(catalogue, answer), **voices}
    return evaluate(chosen, asked, recommenders, catalogue, seed=seed, layout=Layout(folder, "ring"))


def test_figures_of_a_known_recommender(tmp_path: Path) -> None:
    """Prevents masked and unmasked figures that are swapped or mixed, and a hit counted at the wrong place."""
    found = run(tmp_path)
    masked, unmasked = found["masked"]["model"], found["unmasked"]["model"]
    assert masked["recall_at_5"] == unmasked["recall_at_5"] == 1.0
    assert masked["ndcg_at_10"] == pytest.approx(0.63093, abs=1e-5)
    assert unmasked["ndcg_at_10"] == 0.5
    assert masked["mrr_at_20"] == 0.5
    assert found["intervals"]["model"]["recall_at_10"] == [1.0, 1.0]
    assert found["protocol"]["headline"] == "masked"
    assert found["protocol"]["training"] == "strict"


def test_an_unmasked_headline_is_unmasked_in_all_that_is_derived_from_it(tmp_path: Path) -> None:
    """Prevents intervals, slices, ranks or sentences of the masked lists under a headline that says unmasked."""
    found = run(tmp_path, mask_seen=False)
    assert found["protocol"]["headline"] == "unmasked"
    assert found["intervals"]["model"]["ndcg_at_10"] == [0.5, 0.5]  # the masked one is 0.63
    for groups in found["slices"].values():
        assert {group["model"]["ndcg_at_10"] for group in groups.values()} == {0.5}
    assert all("NDCG@10 .5000 against" in line for line in summary.sentences(found))
    table = pl.read_parquet(Layout(tmp_path, "ring").per_user)
    assert table["rank"].to_list() == [3] * len(table)
    assert table["recommended"].list.get(2, null_on_oob=True).to_list() == table["target"].to_list()


def test_the_baselines_of_a_refit_model_know_the_validation_items_too(tmp_path: Path) -> None:
    """Prevents a refit model beside baselines, counts and slices of the training data that it had before."""
    assert run(tmp_path, refit=True)["protocol"]["training"] == "refit"
    learned = Counter(item for row in SEQUENCES.values() for item in row[:-1])
    table = pl.read_parquet(Layout(tmp_path, "ring").per_user)
    assert table["target_count"].to_list() == [learned[target] for target in table["target"]]


def test_a_model_that_loses_to_the_item_graph_has_to_say_so(tmp_path: Path) -> None:
    """Prevents a report that keeps quiet about the baseline that needs no training."""
    found = run(tmp_path, silent)
    assert found["against"]["item_graph"]["recall_at_10"]["verdict"] == "worse"
    claim = summary.claims(found)[0]
    assert claim.sentence == "The model LOSES to the item graph, which needs no training"
    page = Layout(tmp_path, "ring").report.read_text(encoding="utf-8")
    assert f"<h1>{claim.sentence.replace('LOSES', 'loses')}.</h1>\n<p>{claim.figures}.</p>" in page
    won = run(tmp_path / "won", ks=[2])
    assert won["against"]["popularity"]["recall_at_2"]["verdict"] == "better"


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (("better", "worse"), ("worse", "The model LOSES to popularity in NDCG@10; it is ahead in Recall@10")),
        (("worse", "better"), ("worse", "The model LOSES to popularity in Recall@10; it is ahead in NDCG@10")),
        (("worse", "worse"), ("worse", "The model LOSES to popularity")),
        (
            ("no clear difference", "worse"),
            ("worse", "The model LOSES to popularity in NDCG@10; no clear difference in Recall@10"),
        ),
        (
            ("no clear difference", "better"),
            (
                "no clear difference",
                "No clear difference between the model and popularity in Recall@10; it is ahead in NDCG@10",
            ),
        ),
    ],
)
def test_the_sentence_agrees_with_both_metrics(verdicts: tuple[str, str], said: tuple[str, str]) -> None:
    """Prevents "The model beats popularity" where it loses in one of the two figures, and "LOSES" of both where one
    interval holds zero."""
    names = ("recall_at_10", "ndcg_at_10")
    gain = {"difference": 0.0, "interval": [-0.1, 0.1]}
    gains = {name: gain | {"verdict": verdict} for name, verdict in zip(names, verdicts, strict=True)}
    figures = {"recall_at_10": 0.5, "ndcg_at_10": 0.3}
    metrics = {
        "protocol": {"headline": "masked"},
        "masked": {"model": figures, "popularity": figures},
        "against": {"popularity": gains},
    }
    (claim,) = summary.claims(metrics)
    assert (claim.verdict, claim.sentence) == said


def test_a_model_that_is_the_baseline_does_not_beat_it() -> None:
    """Prevents a victory out of an interval that only touches zero."""
    places = dict.fromkeys(("model", "popularity", "item_graph"), np.arange(LEAST_USERS) % 12)
    for gains in compare(places, [10], seed=1)["against"].values():
        for gain in gains.values():
            assert (gain["interval"], gain["verdict"]) == ([0.0, 0.0], "no clear difference")


@pytest.mark.parametrize("recommend", [oracle, silent])
@pytest.mark.parametrize(("users", "enough"), [(1, False), (LEAST_USERS - 1, False), (LEAST_USERS, True)])
def test_a_few_users_give_no_verdict(tmp_path: Path, users: int, enough: bool, recommend: Any) -> None:
    """Prevents "The model beats popularity" where the one test user was a hit: an interval of +1.0000 to +1.0000."""
    run(tmp_path, recommend, ks=[2], max_users=users)
    layout = Layout(tmp_path, "ring")
    metrics = read_metrics(layout.metrics)
    verdicts = {gain["verdict"] for gains in metrics["against"].values() for gain in gains.values()}
    assert (verdicts == {"too few users"}) is not enough
    page = layout.report.read_text(encoding="utf-8")
    for claim in summary.claims(metrics):
        assert claim.sentence.replace("LOSES", "loses") in page and claim.figures in page
        assert claim.sentence.startswith("Too few test users (under 30) to tell whether the model beats") is not enough


def test_the_same_inputs_give_the_same_bytes_in_a_fresh_process(tmp_path: Path) -> None:
    """Prevents a clock, a random name, a hash seed or a font cache in any artifact: DVC would re-run what follows."""
    run(tmp_path / "a")
    code = (
        f"import importlib.util,pathlib;s=importlib.util.spec_from_file_location('t',{__file__!r});"
        f"t=importlib.util.module_from_spec(s);s.loader.exec_module(t);t.run(pathlib.Path({str(tmp_path / 'b')!r}))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "123", "MPLCONFIGDIR": str(tmp_path / "mpl")}
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=environment | {"PYTHONPATH": str(root)})
    first, second = (Layout(tmp_path / name, "ring").root / "evaluate" for name in "ab")
    assert {p.name for p in first.iterdir()} == {
        "metrics.json",
        "voices.json",
        "headline.json",
        "per_user.parquet",
        "plots",
        "report.html",
    }
    assert sha256(first) == sha256(second)


def test_per_user_rows_tell_the_same_as_the_means(tmp_path: Path) -> None:
    """Prevents a table whose ranks belong to other users than they stand beside."""
    found = run(tmp_path)
    table = pl.read_parquet(Layout(tmp_path, "ring").per_user)
    assert table["user_id"].to_list() == sorted(SEQUENCES)
    for variant in ("masked", "unmasked"):
        for who in ("model", "popularity", "item_graph"):
            share = (table[f"{who}_{variant}"].fill_null(99) <= 5).mean()
            assert share == pytest.approx(found[variant][who]["recall_at_5"], abs=1e-6)
    for row in table.iter_rows(named=True):
        assert row["prompt"] + [row["target"]] == SEQUENCES[row["user_id"]]
        assert row["recommended"][row["rank"] - 1] == row["target"]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lambda history: ["i23", "i23"], "an item twice"),
        (lambda history: ["nowhere"], "not in the catalogue"),
        (lambda history: [history[0]], "has already"),
        (lambda history: [item for item in ITEMS if item not in history], "more items than asked for"),
    ],
)
def test_a_list_that_no_honest_decoder_gives_is_refused(tmp_path: Path, answer: Any, what: str) -> None:
    """Prevents figures from a filler beam, a wrong ID table or a mask that does not mask; nothing is published then."""

    def answers(histories: Sequence[Sequence[str]], k: int, mask_seen: bool) -> Answers:
        return [answer(history) for history in histories]

    with pytest.raises(GateRefused, match=what):
        run(tmp_path, answers, ks=[2])
    assert not Layout(tmp_path, "ring").root.exists()


def test_the_page_is_self_contained_and_escapes_product_text(tmp_path: Path) -> None:
    """Prevents a page that is blank without internet, and markup in a title that becomes markup of the page."""
    run(tmp_path)
    page = Layout(tmp_path, "ring").report.read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert " &amp; &lt;b&gt;B" in page
    assert "<b>B</b>" not in page
    assert len(page) < 300_000


def test_examples_show_a_hit_a_miss_and_a_random_user_and_say_which(tmp_path: Path) -> None:
    """Prevents hand-picked successes: the page tells how each user was chosen, and the seed fixes the choice."""

    def even_users_only(histories: Sequence[Sequence[str]], k: int, mask_seen: bool) -> Answers:
        return [
            full if len(history) % 2 else full[:-1]
            for history, full in zip(histories, oracle(histories, k, mask_seen), strict=True)
        ]

    run(tmp_path, even_users_only)
    table = pl.read_parquet(Layout(tmp_path, "ring").per_user)
    shown = pick(table, {}, WORDS, seed=17)
    assert len({example.user_id for example in shown}) == 3
    random, hit, miss = shown
    assert "random" in random.why
    assert hit.rank is not None
    assert [item.hit for item in hit.recommended].count(True) == 1
    assert miss.rank is None
    assert shown == pick(table.reverse(), {}, WORDS, seed=17)
    assert "HIT" in as_text(shown)


def test_slices_cover_every_user_once(tmp_path: Path) -> None:
    """Prevents users who fall between two slices or are counted in both."""
    found = run(tmp_path)["slices"]
    for groups in found.values():
        assert sum(group["users"] for group in groups.values()) == len(SEQUENCES)


def test_the_head_is_a_fifth_of_the_items_in_training() -> None:
    """Prevents cold items that widen the head, a head of nothing in a small catalogue, and a tail that is cold too."""
    assert np.flatnonzero(head_items(np.array([5, 4, 3, *[0] * 8, 1]))).tolist() == [0]  # of four
    assert np.flatnonzero(head_items(np.array([1, 2, 2, 2, 1, 1]))).tolist() == [1, 2]  # of six
    train = Ragged.of([[0] * 5 + [1] * 4 + [2]])
    no_prompts = Ragged.of([[]] * 4)
    asked = Cases(tuple("abcd"), tuple("stuv"), train, no_prompts, targets=np.arange(4))
    found = {name.split()[0]: np.flatnonzero(mask).tolist() for name, mask in slices(asked)["target"].items()}
    assert found == {"head": [0], "tail": [1, 2], "cold": [3]}


def test_a_sample_of_users_says_so(tmp_path: Path) -> None:
    """Prevents figures of a sample that look like figures of everybody."""
    found = run(tmp_path, max_users=6)
    assert (found["protocol"]["test_users"], found["protocol"]["all_test_users"]) == (6, 36)
    assert "6 of 36 test users" in Layout(tmp_path, "ring").report.read_text()


def test_the_headline_is_ten_or_the_nearest() -> None:
    """Prevents a headline figure at a cut-off nobody quotes."""
    assert [headline_k(ks) for ks in ([5, 10, 20], [5, 20], [1], [8, 12])] == [10, 5, 1, 8]


def test_the_table_is_in_the_order_people_read_it_also_from_the_file(tmp_path: Path) -> None:
    """Prevents 'MRR, NDCG@10, NDCG@20, NDCG@5': metrics.json is sorted by letters."""
    run(tmp_path)
    metrics = read_json(Layout(tmp_path, "ring").metrics)
    names = [name for name, _ in summary.rows(metrics)]
    assert names[:7] == ["Recall@5", "Recall@10", "Recall@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR@20"]
    assert names[7] == "Recall@5, unmasked"
    assert all(claim.figures.index("Recall") < claim.figures.index("NDCG") for claim in summary.claims(metrics))

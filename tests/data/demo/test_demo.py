"""The demo shop: always the same, dirty as promised, and learnable, with the right answer known."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from components.data.clean.kcore import k_core
from components.data.demo import shop as demo_shop
from components.data.demo.customers import right_answers
from components.data.ingest.ingest import ingest
from components.errors import BadInput
from components.settings.params import Ingest
from components.storage.layout import Layout


@pytest.fixture(scope="module")
def shop(repository: Path) -> demo_shop.Shop:
    return demo_shop.load(repository / "data" / "demo" / "shop.yaml")


@pytest.fixture(scope="module")
def layout(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    made = Layout(tmp_path_factory.mktemp("demo"), "demo")
    ingest(Ingest(), repository / "data" / "demo", made)
    return made


@pytest.fixture(scope="module")
def histories(layout: Layout, shop: demo_shop.Shop) -> list[list[str]]:
    """Histories of the 5-core, twins under one id: what training and evaluation see."""
    one_id = {code: min(product.ids) for code, product in shop.by_id.items()}
    rows = pl.read_parquet(layout.interactions).select(user="user_id", item=pl.col("item_id").replace_strict(one_id))
    core, _ = k_core(rows, per_user=5, per_item=5)
    return core.group_by("user", maintain_order=True).agg("item")["item"].to_list()


def recall_at_10(histories: list[list[str]], recommend: object) -> float:
    return float(np.mean([history[-1] in recommend(history[:-1])[:10] for history in histories]))  # type: ignore[operator]


def test_right_answer_is_known_and_popularity_does_not_know_it(
    histories: list[list[str]], shop: demo_shop.Shop
) -> None:
    """Prevents: a demo on which nothing can be learned, or on which popularity cannot be beaten fivefold."""
    sold = Counter(item for history in histories for item in history[:-2])
    popular = sorted(sold, key=lambda item: (-sold[item], item))
    follows: dict[str, Counter[str]] = {item: Counter() for item in sold}
    for history in histories:
        for item in history[:-2]:
            follows[item].update(other for other in history[:-2] if other != item)

    def by_popularity(history: list[str]) -> list[str]:
        return [item for item in popular[:40] if item not in history]

    def by_company(history: list[str]) -> list[str]:
        ranked = sorted(follows.get(history[-1], Counter()).items(), key=lambda pair: (-pair[1], pair[0]))
        return [item for item, _ in ranked if item not in history]

    popularity = recall_at_10(histories, by_popularity)
    company = recall_at_10(histories, by_company)
    oracle = recall_at_10(histories, lambda history: right_answers(shop, history))
    assert 0.02 < popularity < 0.05
    assert company > 0.5
    assert oracle > 0.75
    assert oracle > 5 * popularity


def test_size_is_that_of_a_first_run(layout: Layout, histories: list[list[str]]) -> None:
    """Prevents: a demo that no longer trains in minutes on two cores."""
    items = pl.read_parquet(layout.items)
    assert 400 <= items.height <= 600
    assert 1500 <= len(histories) <= 2500
    assert all(5 <= len(history) <= 14 for history in histories)
    assert 10_000 <= sum(len(history) - 3 for history in histories) <= 20_000
    words = {word for title in items["title"].drop_nulls() for word in title.lower().split()}
    assert len(words) < 400


def test_nobody_buys_the_same_product_twice(histories: list[list[str]]) -> None:
    """Prevents: targets that `clean` would drop as repeats."""
    assert all(len(set(history)) == len(history) for history in histories)


def test_all_the_dirt_is_there(layout: Layout, shop: demo_shop.Shop) -> None:
    """Prevents: a demo in which `clean` has nothing to do."""
    items = pl.read_parquet(layout.items)
    text = "\n".join(items["title"].drop_nulls().to_list() + items["description"].drop_nulls().to_list())
    for dirt in (
        "&amp;",
        "&eacute;",
        "<b>",
        "<br />",
        "\u00a0",
        "\u200b",
        "\u0308",
        "  ",
        *shop.settings["boilerplate"],
    ):
        assert dirt in text, dirt
    for name in ("title", "brand", "description", "price"):
        assert 0 < items[name].null_count() < items.height // 5, name
    assert (items["categories"].list.len() == 0).any()
    assert sum(product.second_id is not None for product in shop.products) >= 5


def test_times_go_forward_over_two_years_in_seconds(layout: Layout) -> None:
    """Prevents: ties in time, which make the last item arbitrary."""
    interactions = pl.read_parquet(layout.interactions)
    steps = interactions.select(pl.col("timestamp").diff().over("user_id").drop_nulls())["timestamp"]
    assert steps.min() > pl.Series([0], dtype=pl.Duration("us"))[0]
    assert 650 < (interactions["timestamp"].max() - interactions["timestamp"].min()).days <= 730  # type: ignore[operator]


def test_item_codes_say_nothing(layout: Layout) -> None:
    """Prevents: codes that rise along the routine, so that "sorted by code" would be the right answer."""
    from components.data.ingest.ordering import sortedness

    table = pl.read_parquet(layout.interactions).group_by("user_id", maintain_order=True).agg("item_id")
    found = sortedness(table.iter_rows())
    assert found.users > 1500
    assert found.share < 0.05


def test_same_bytes_whatever_the_hash_seed(repository: Path, layout: Layout, tmp_path: Path) -> None:
    """Prevents: a set or a hash deciding an order, which would change the demo from process to process."""
    code = (
        "import sys; from pathlib import Path; from components.storage.layout import Layout\n"
        "from components.settings.params import Ingest; from components.data.ingest.ingest import ingest\n"
        "ingest(Ingest(), Path('data/demo'), Layout(Path(sys.argv[1]), 'demo'))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=repository, env=environment, check=True)
    other = Layout(tmp_path, "demo")
    for ours, theirs in ((layout.items, other.items), (layout.interactions, other.interactions)):
        assert hashlib.sha256(ours.read_bytes()).digest() == hashlib.sha256(theirs.read_bytes()).digest()


def test_right_answers_of_a_known_case(shop: demo_shop.Shop) -> None:
    """Prevents: an oracle that agrees with the generator's mistakes; this answer was worked out by hand."""
    beans = next(p for p in shop.products if p.brand == "Korvina" and p.title.endswith("Whole Bean Coffee, 250 g"))
    answers = [shop.by_id[item_id] for item_id in right_answers(shop, [beans.item_id])]
    assert {answer.brand for answer in answers} == {"Korvina"}
    # The refill first; then both grinders, the next type of the routine; then both kettles, the one after it.
    assert [answer.step - beans.step for answer in answers] == [0, 1, 1, 2, 2]
    assert answers[0].title.endswith("Whole Bean Coffee, 1 kg Refill Pack")
    assert all("Burr Grinder" in answer.title for answer in answers[1:3])
    assert all("Gooseneck Kettle" in answer.title for answer in answers[3:])
    # What is owned already is no answer.
    owned = [answers[0].item_id, beans.item_id]
    assert right_answers(shop, owned) == [min(answer.ids) for answer in answers[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"customers": None}, "does not describe a shop"),
        ({"seed": None, "brands": [{"name": "X", "departments": ["toys"]}]}, "'toys' is missing or unknown"),
        ({"dirt": {"markup": 1.5}}, "markup is 1.5"),
    ],
)
def test_a_broken_shop_is_bad_input(repository: Path, tmp_path: Path, change: dict, message: str) -> None:
    """Prevents: a traceback for whoever edits shop.yaml."""
    settings = yaml.safe_load((repository / "data" / "demo" / "shop.yaml").read_text(encoding="utf-8"))
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump({**settings, **change}), encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        ingest(Ingest(), tmp_path, Layout(tmp_path, "demo"))


def test_shop_yaml_that_is_not_yaml(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text("seed: [1,")
    with pytest.raises(BadInput, match="not readable as YAML"):
        ingest(Ingest(), tmp_path, Layout(tmp_path, "demo"))

"""What is answered to a request: in process with a recommender whose answers are known."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from components.recommender.catalogue import Catalogue
from components.registry.register import register
from components.registry.requests import MAX_K, Refused, rows_of
from components.registry.store import connect
from components.registry.wording import Wording
from components.voices import load
from tests.registry.workspace import ITEMS, FirstItems, build


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """The workspace of a registered model; whoever loads it meets a recommender that needs no weights."""

    def tiny(directory: Path, **_: Any) -> FirstItems:
        assert (directory / "manifest.json").is_file()
        return FirstItems(Catalogue.load(directory, drop_repeats=True))

    workspace = tmp_path_factory.mktemp("registered")
    shutil.copyfile(empty_store, workspace / "mlflow.db")
    layout, params = build(workspace)
    register(params, layout)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(load, "load", tiny)
        yield workspace


@pytest.fixture(scope="module")
def model(registered: Path) -> Any:
    """`models:/idiom@champion`, loaded by MLflow from what `register` logged."""
    import mlflow.pyfunc

    connect(registered)
    return mlflow.pyfunc.load_model("models:/idiom@champion")


def ask(model: Any, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    return model.predict(pd.DataFrame(rows)).to_dict("records")


def test_an_answer_holds_ids_words_titles_scores_and_a_sentence(model: Any) -> None:
    """Prevents lists of one answer that do not belong together, and a title where there is none."""
    (answer,) = ask(model, {"history": ["i0", "i6"], "k": 6})
    assert answer["item_ids"] == ["i1", "i2", "i3", "i4", "i5", "i7"]
    assert answer["textual_ids"] == [f"words of {item}" for item in answer["item_ids"]]
    assert answer["titles"] == [f"Title of i{n}" for n in range(1, 6)] + ["words of i7"]
    assert len(answer["scores"]) == 6
    assert answer["sentence"] == "After Title of i0 and Title of i6: Title of i1."


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"history": ["i0", "i1"], "k": 3}, {"history": ["i2"]}]},
        {"inputs": [{"history": ["i0", "i1"], "k": 3}, {"history": ["i2"]}]},
        {"instances": [{"history": ["i0", "i1"], "k": 3}, {"history": ["i2"]}]},
        {"inputs": {"history": [["i0", "i1"], ["i2"]], "k": [3, 10]}},
        {"instances": {"history": [["i0", "i1"], ["i2"]], "k": [3, 10]}},
        {"dataframe_split": {"columns": ["history", "k"], "data": [[["i0", "i1"], 3], [["i2"], 10]]}},
    ],
    ids=lambda body: "-".join(f"{key}-{type(value).__name__}" for key, value in body.items()),
)
def test_every_form_of_request_that_mlflow_knows_is_answered(model: Any, body: dict[str, Any]) -> None:
    """Prevents a 400 with the wrong reason ("invalid JSON", "item ids are strings") for histories of unlike lengths."""
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    asked = infer_and_parse_data(body, model.metadata.get_input_schema())
    answers = model.predict(asked).to_dict("records")
    assert [answer["item_ids"] for answer in answers] == [
        answer["item_ids"] for answer in ask(model, {"history": ["i0", "i1"], "k": 3}, {"history": ["i2"], "k": 10})
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"inputs": [{"history": "i0"}]}, "row 0: `history` is 'i0', not a list of item ids"),
        ({"instances": [{"history": ["i0"]}, {"history": [7]}]}, "row 1: `history` holds 7; item ids are strings"),
        ({"inputs": [{"items": ["i0"]}]}, "history"),
    ],
)
def test_other_forms_are_refused_with_the_right_reason(model: Any, body: dict[str, Any], reason: str) -> None:
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    with pytest.raises(MlflowException) as caught:
        model.predict(infer_and_parse_data(body, model.metadata.get_input_schema()))
    assert reason in str(caught.value)


def test_a_row_is_answered_alone_as_in_a_batch(model: Any) -> None:
    """Prevents an answer that changes with its neighbours: k of one row widening the beams of another."""
    rows = [{"history": ["i0"], "k": 2}, {"history": ["i1"], "k": 5}, {"history": ["i2"], "k": 2}]
    assert ask(model, *rows) == [ask(model, row)[0] for row in rows]


def test_unknown_items_are_skipped_and_nothing_known_is_answered_kindly(model: Any) -> None:
    """Prevents a server error for a new product, and made-up recommendations from an empty prompt."""
    some, none, empty = ask(
        model, {"history": ["new", "i0"], "k": 2}, {"history": ["new"], "k": 2}, {"history": [], "k": 2}
    )
    assert some["sentence"] == "After Title of i0: Title of i1."
    for answer in (none, empty):
        assert answer["item_ids"] == []
        assert "nothing to go by" in answer["sentence"]


@pytest.mark.parametrize("none", [{}, {"k": None}, {"k": float("nan")}], ids=["no key", "null", "nan"])
def test_k_may_be_left_out_of_any_row(model: Any, none: dict[str, Any]) -> None:
    """Prevents a required field that the documentation calls optional, and one row without it that refuses them all."""
    with_k, without = {"history": ["i0"], "k": 2}, {"history": ["i1"], **none}
    for rows in ([without], [with_k, without], [without, with_k]):
        found = [len(answer["item_ids"]) for answer in ask(model, *rows)]
        assert found == [2 if row is with_k else len(ITEMS) - 1 for row in rows]


def test_k_may_be_a_column_of_nullable_integers(model: Any) -> None:
    """Prevents pandas' own missing value from being a crash instead of the default."""
    frame = pd.DataFrame({"history": [["i0"], ["i1"]], "k": pd.array([3, None], dtype="Int64")})
    assert [len(items) for items in model.predict(frame)["item_ids"]] == [3, len(ITEMS) - 1]


def test_times_reach_the_model_and_may_be_left_out(model: Any) -> None:
    """Prevents a ranker that was evaluated with times and is served without: other lists than those of its figures."""
    rows: list[dict[str, Any]] = [
        {"history": ["i0", "i3"], "k": 1, "times": [5.0, 70.0]},
        {"history": ["i0"], "k": 1, "times": None},
        {"history": ["i0"], "k": 1},
    ]
    assert [answer["scores"] for answer in ask(model, *rows)] == [[69.0], [-1.0], [-1.0]]
    assert [row.times for row in rows_of({"dataframe_records": rows})] == [[5.0, 70.0], None, None]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"history": ["i0"], "k": 0}, "`k` is 0"),
        ({"history": ["i0"], "k": -3}, "`k` is -3"),
        ({"history": ["i0"], "k": MAX_K + 1}, "whole number from 1 to 100"),
        ({"history": ["i0"], "k": 2.5}, "`k` is 2.5"),
        ({"history": ["i0"], "k": True}, "`k` is True"),
        ({"history": ["i0"], "k": "ten"}, "`k` is 'ten'"),
        ({"history": ["i0"], "k": float("inf")}, "`k` is inf"),
        ({"history": ["i0"], "k": [5]}, r"`k` is \[5\]"),
        ({"history": "i0", "k": 1}, "list"),
        ({"history": None, "k": 1}, "list"),
        ({"history": [7], "k": 1}, "row 0: `history` holds 7; item ids are strings"),
        ({"history": ["i0", None], "k": 1}, "row 0: `history` holds None; item ids are strings"),
        ({"history": ["i0", float("nan")], "k": 1}, "row 0: `history` holds nan; item ids are strings"),
        ({"k": 1}, "history"),
        ({"history": ["i0"], "times": "now"}, "`times` is 'now', not a list of seconds"),
        ({"history": ["i0"], "times": [float("nan")]}, "`times` holds nan"),
        ({"history": ["i0"], "times": [True]}, "`times` holds True"),
        ({"history": ["i0"], "times": [1e308]}, "`times` holds 1e\\+308; give seconds since 1970"),
        ({"history": ["i0"], "times": [1_700_000_000_000]}, "`times` holds 1700000000000; give seconds since 1970"),
        ({"history": ["i0"], "times": [1.0, 2.0]}, "`times` has 2 values for 1 items"),
    ],
)
def test_malformed_input_is_refused_with_a_reason(model: Any, row: dict[str, Any], what: str) -> None:
    """Prevents a string read as a list of letters, a null read as the item "n", a request for all memory, and answers
    to nonsense."""
    with pytest.raises(MlflowException, match=what) as refused:
        ask(model, row)
    assert refused.value.get_http_status_code() == 400


def test_whole_numbers_that_no_float_holds_are_refused_with_a_reason() -> None:
    """Prevents a 500 with a traceback for an integer of hundreds of digits, which JSON may hold."""
    for name, value in (("k", 10**400), ("times", [-(10**400)])):
        with pytest.raises(Refused, match=f"row 0: `{name}` (is|holds) -?10000"):
            rows_of({"inputs": [{"history": ["i0"], name: value}]})


def test_loading_and_predicting_unpickle_nothing(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a model file that runs code when it is loaded: safetensors, Parquet and JSON only."""
    import pickle

    import cloudpickle
    import mlflow.pyfunc

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    for owner, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (cloudpickle, "load")):
        monkeypatch.setattr(owner, name, refuse)
    connect(registered)
    loaded = mlflow.pyfunc.load_model("models:/idiom@champion")
    assert ask(loaded, {"history": ["i0"], "k": 1})[0]["item_ids"] == ["i1"]
    stored = {path.suffix for path in registered.joinpath("mlartifacts", "tiny", "models").rglob("*") if path.is_file()}
    assert stored.isdisjoint({".pkl", ".pickle", ".pt", ".bin"})


@pytest.mark.parametrize(
    ("history", "recommended", "line"),
    [
        (["A"], ["B"], "After A: B."),
        (["A", "B", "C"], ["D", "E"], "After B and C: D."),
        ([], [], "None of these items is known here, so there is nothing to go by."),
        (["A"], [], "After A: nothing is left to recommend."),
        (["A\n\x1b[31m B"], ["C."], "After A [31m B: C."),
        (["x" * 70 + " long tail of words"], ["C"], "After " + "x" * 70 + " long…: C."),
    ],
)
def test_the_sentence_is_one_clean_line(history: list[str], recommended: list[str], line: str) -> None:
    """Prevents terminal escapes, line breaks and 900-character titles in what a person is shown."""
    assert Wording.of("en").sentence(history, recommended, None) == line

"""The model behind `mlflow models serve`: models-from-code, so MLflow stores this file and the bundle, and no pickle.

Input, one row a user: `history` (list of item ids, oldest first; unknown ones are skipped) and `k` (how many items,
1 to 100; 10 where the column is left out). Output, one row a user: `item_ids`, `textual_ids`, `titles`, `scores`, best
first, and `sentence`, which a person could be shown. A history without any known item is answered with empty lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

if TYPE_CHECKING:
    from mlflow.pyfunc import PythonModelContext

DEFAULT_K = 10
MAX_K = 100
"""Beams grow with k; more is refused rather than let one request take the machine's memory."""
_TITLE_CHARS = 80


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """The engine of one bundle, with titles and a sentence."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle that was logged with the model; a changed file is refused."""
        from components.recommender.engine import Engine
        from components.registry.bundle import verified

        bundle = Path(context.artifacts["bundle"])
        verified(bundle)
        self.answers = Answers(bundle, Engine.load(bundle))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """[rows] answers as a data frame. Raises `MlflowException` (HTTP 400) that names the row and the mend."""
        histories = [_history(value, row) for row, value in enumerate(model_input["history"])]
        ks = (
            [_k(value, row) for row, value in enumerate(model_input["k"])]
            if "k" in model_input
            else [DEFAULT_K] * len(model_input)
        )
        return pd.DataFrame(self.answers(histories, ks), columns=list(FIELDS))


FIELDS = ("item_ids", "textual_ids", "titles", "scores", "sentence")


class Answers:
    """Histories -> answers, with the decoding settings that the bundle was evaluated with."""

    def __init__(self, bundle: Path, engine: Any) -> None:
        import pyarrow.parquet as pq

        from components.artifacts import read_json

        items = pq.read_table(bundle / "items.parquet", columns=["item_id", "title"])
        self._titles = dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))
        self._engine = engine
        self._settings = read_json(bundle / "params.json")["evaluate"]

    def __call__(self, histories: Sequence[Sequence[str]], ks: Sequence[int]) -> list[dict[str, Any]]:
        """One answer a row. Rows of equal k are decoded together; a row's answer does not depend on its neighbours."""
        known = [[item for item in history if item in self._titles] for history in histories]
        answers = [self._answer([], []) for _ in histories]
        for k in sorted(set(ks)):
            rows = [row for row, wanted in enumerate(ks) if wanted == k and known[row]]
            found = self._engine.recommend(
                [known[row] for row in rows],
                k=k,
                beams=max(self._settings["beams"], k),
                scores=self._settings["scores"],
                mask_seen=self._settings["mask_seen"],
                length_penalty=self._settings["length_penalty"],
                batch_users=self._settings["batch_users"],
            )
            for row, recommended in zip(rows, found, strict=True):
                answers[row] = self._answer(known[row], recommended)
        return answers

    def _answer(self, history: Sequence[str], recommended: Sequence[Any]) -> dict[str, Any]:
        titles = [self._title(each.item_id, each.words) for each in recommended]
        return {
            "item_ids": [each.item_id for each in recommended],
            "textual_ids": [each.words for each in recommended],
            "titles": titles,
            "scores": [float(each.score) for each in recommended],
            "sentence": sentence([self._title(item, item) for item in history], titles),
        }

    def _title(self, item_id: str, otherwise: str) -> str:
        return self._titles.get(item_id) or otherwise


def sentence(history: Sequence[str], recommended: Sequence[str]) -> str:
    """Titles of the history and of the recommendations -> one line of plain text for a person.

    Says what the model was shown, newest last, and no more: it claims no property of the items. Text, not markup:
    whoever puts it on a page has to escape it.
    """
    if not history:
        return "None of these items is known here, so there is nothing to go by."
    chosen = " and ".join(_short(title) for title in history[-2:])
    if not recommended:
        return f"You chose {chosen}: nothing is left to recommend."
    return f"Because you chose {chosen}: {_short(recommended[0])}."


def _short(title: str) -> str:
    """One line without control characters, cut at a word."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in title).split()).rstrip(".")
    if len(line) <= _TITLE_CHARS:
        return line
    return line[:_TITLE_CHARS].rsplit(" ", 1)[0] + "…"


def _history(value: Any, row: int) -> list[str]:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise _refused(f"row {row}: `history` is {value!r}, not a list of item ids")
    items = list(value)
    if wrong := [item for item in items if not isinstance(item, str)]:
        raise _refused(f"row {row}: `history` holds {wrong[0]!r}; item ids are strings")
    return items


def _k(value: Any, row: int) -> int:
    if value is None or value != value:
        return DEFAULT_K
    if isinstance(value, bool) or not float(value).is_integer() or not 1 <= value <= MAX_K:
        raise _refused(f"row {row}: `k` is {value!r}; give a whole number from 1 to {MAX_K}")
    return int(value)


def _refused(what: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(
        f'{what}. Example: {{"dataframe_records": [{{"history": ["item id", "item id"], "k": 10}}]}}'
    )


mlflow.models.set_model(ServedModel())

"""The pyfunc model behind `mlflow models serve`; models-from-code: MLflow stores this file and the bundle, no pickle.

Input, one row a user, under any key that MLflow knows (`dataframe_records`, `dataframe_split`, `inputs`, `instances`):
`history` (list of item ids, oldest first; read as `Catalogue.canonical` says, unknown ones are skipped), `k` (how many
items, 1 to 100; 10 where a row has none) and, where they are known, `times` (seconds since 1970 of each item). Output,
one row a user: `answers.FIELDS`. A history without any known item is answered with empty lists. A request has at most
`requests.MAX_ROWS` rows.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model

# Where MLflow has put the code that was logged beside this file (`log.py`); in a checkout there is none. A process that
# has imported the package already goes on with that, and so do the processes that it starts.
if "components" not in sys.modules and (_CODE := Path(__file__).parent / "code" / "components.zip").is_file():
    sys.path.insert(0, str(_CODE))

from components.registry.answers import FIELDS, Answers
from components.registry.bundle import BUNDLE, DIGEST, verified
from components.registry.limits import Limits
from components.registry.requests import MAX_ROWS, Refused, history_of, k_of, times_of, too_many

if TYPE_CHECKING:
    from mlflow.pyfunc import PythonModelContext


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """The recommender of one bundle, with titles and a sentence."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle that was logged with the model; a changed file is refused, and an exchanged bundle."""
        _take_instances_as_rows()
        _limit_requests()
        bundle = Path(context.artifacts["bundle"])
        verified(bundle, _registered(bundle))
        self.answers = Answers.of(bundle)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """[rows] answers as a data frame. Raises `MlflowException` (HTTP 400) that names the row and the mend."""
        if len(model_input) > MAX_ROWS:
            raise _refused(too_many(len(model_input)))
        # pandas makes NaN, and whole numbers floats, of a column where one row has no k.
        given = model_input["k"] if "k" in model_input else [None] * len(model_input)
        try:
            histories = [history_of(value, row) for row, value in enumerate(model_input["history"])]
            ks = [k_of(None if value is pd.NA else value, row) for row, value in enumerate(given)]
            said = model_input["times"] if "times" in model_input else [None] * len(model_input)
            times = [
                times_of(None if value is pd.NA else value, row, len(histories[row])) for row, value in enumerate(said)
            ]
        except Refused as error:
            raise _refused(str(error)) from error
        return pd.DataFrame(self.answers(histories, ks, times), columns=list(FIELDS))


def _registered(bundle: Path) -> str | None:
    """The digest that the model was registered with: as `idiom serve` says it, else the tag of the model in MLflow.

    None where no store knows the model, as in a container that has the files alone; that is said.
    """
    if digest := os.environ.get(DIGEST):
        return digest
    store = mlflow.get_tracking_uri()
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).is_file():
        why = f"there is no store at {store}"  # and none is made by asking
    else:
        try:
            model_id = Model.load(str(bundle.parents[1] / "MLmodel")).model_id
            return str(mlflow.MlflowClient().get_logged_model(str(model_id)).tags[BUNDLE])
        except KeyError:
            why = f"{store} does not say what the model holds"
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            why = f"{store} does not know the model"
    print(f"warning: {why}: its files are compared with its own manifest alone", file=sys.stderr)
    return None


def _take_instances_as_rows() -> None:
    """Make MLflow's server read `instances` as it reads `inputs`: a list of rows.

    It makes one array of the histories of all rows instead, which fails where they differ in length, and then calls the
    request invalid JSON.
    """
    from mlflow.utils import proto_json_utils as parsing

    by_column, cast = getattr(parsing, "parse_instances_data", None), getattr(parsing, "_cast_schema_type", None)
    if by_column is None or cast is None:
        return  # another MLflow than the pinned one, which has to speak for itself

    def by_row(data: Any, schema: Any = None) -> Any:
        rows = data.get("instances")
        whole = isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)
        return cast(rows, schema) if whole else by_column(data, schema)

    parsing.parse_instances_data = by_row


def _limit_requests() -> None:
    """Make MLflow's server, if this process is one, refuse what no server should read (limits.py).

    It makes its app around this model once that is loaded, and has no place to add a middleware.
    """
    from mlflow.pyfunc import scoring_server

    if scoring_server._SERVER_MODEL_PATH not in os.environ:
        return
    import fastapi

    class Limited(fastapi.FastAPI):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.add_middleware(Limits)

    fastapi.FastAPI = Limited  # type: ignore[misc]


def _refused(what: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(what)


mlflow.models.set_model(ServedModel())

"""`idiom recommend`: ask a bundle from the command line, with the settings of its evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.settings.decoding import Mode
from components.settings.params import Params
from components.storage.layout import Layout


def recommend(
    workspace: Path,
    params: Params,
    history: list[str],
    *,
    k: int,
    bundle: Path | None = None,
    mode: Mode | None = None,
) -> dict[str, Any]:
    """One answer as components/registry/answers.py gives it; and `note`, which says where it was searched otherwise
    than evaluated ("" where it was not).

    bundle: a directory with a bundle or a saved voice; without it the champion's is taken. mode: who answers, instead
    of whom the bundle names. Raises `BadInput` where no item is known, the bundle lacks the mode, or there is no
    champion yet.
    """
    from components.registry.answers import Answers
    from components.registry.bundle import beams_note, decoding_of, verified
    from components.registry.champion import champion_bundle

    if bundle is None:
        bundle = champion_bundle(workspace, params)
    else:
        verified(bundle)
    answer = Answers.of(bundle, mode=mode, lean=True)([history], [k])[0]
    if not answer["item_ids"]:
        raise BadInput(
            f"nothing to recommend: none of {', '.join(history[:10])} is an item of the model, or all items are seen",
            where=str(bundle),
            mend=f"give item ids of the catalogue; they stand in {bundle / 'items.parquet'}",
        )
    return {**answer, "note": beams_note(decoding_of(bundle, mode), k)}


def history_of(workspace: Path, params: Params, user: str) -> list[str]:
    """All items of a user in order, from the canonical interactions. Raises `BadInput` for an unknown user."""
    import pyarrow.parquet as pq

    path = Layout(workspace, params.dataset).interactions
    if not path.is_file():
        raise BadInput("there are no interactions yet", where=str(path), mend="run `idiom retrain`, or give item ids")
    table = pq.read_table(path, columns=["user_id", "item_id"], filters=[("user_id", "=", user)])
    if not table.num_rows:
        raise BadInput(f"no user {user!r}", where=str(path), mend="user ids are those of the raw data")
    return list(table["item_id"].to_pylist())

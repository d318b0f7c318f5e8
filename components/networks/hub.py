"""Find a pretrained checkpoint: a local folder, the local cache, or the Hugging Face hub, in this order.

Never hangs: without a connection the answer comes within seconds, and it names the way that needs none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from transformers.utils.hub import LocalEntryNotFoundError, snapshot_download

from components.errors import BadInput

# What a model needs and nothing else: pickles and code stay where they are.
_FILES = ["*.json", "*.safetensors", "*.model", "merges.txt", "vocab.txt"]
_SECONDS = 5.0
_MEND = (
    "set train.backbone and train.generator_backbone to `scratch` (needs no hub), to a local folder, "
    "or check the connection and the name"
)


def locate(name: str) -> Path:
    """The local folder of checkpoint `name` (a folder, OWNER/NAME or OWNER/NAME@REVISION), downloaded if need be.

    Raises `BadInput` if it is not to be had.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    owned, _, revision = name.partition("@")
    settings: dict[str, Any] = {"repo_id": owned, "revision": revision or None, "allow_patterns": _FILES}
    try:
        cached = Path(snapshot_download(**settings, local_files_only=True))
    except ValueError as error:  # not of the form owner/name
        raise BadInput(f"{name!r} is neither a folder nor a name on the hub", where="train", mend=_MEND) from error
    except LocalEntryNotFoundError:
        return _download(name, settings)
    return cached if any(cached.glob("*.safetensors")) else _download(name, settings)


def _download(name: str, settings: dict[str, Any]) -> Path:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        raise BadInput(f"{name} is not in the local cache and HF_HUB_OFFLINE is set", where="train", mend=_MEND)
    if not {"model.safetensors", "model.safetensors.index.json"} & _listing(name):
        raise BadInput(
            f"{name} has no safetensors; a pickle is not opened",
            where="train",
            mend=f"name a revision that has them (often {settings['repo_id']}@refs/pr/1, by the hub's converter), or "
            f"save the model as safetensors to a folder, on a machine where opening it harms nobody; or {_MEND}",
        )
    try:
        return Path(snapshot_download(**settings, endpoint=_endpoint()))
    except OSError as error:  # it can be listed but not read (Llama asks for consent), or the connection broke
        raise BadInput(
            f"{name} cannot be downloaded: {str(error).strip().splitlines()[0]}",
            where=f"{_endpoint()}/{settings['repo_id']}",
            mend=f"accept its terms there and set HF_TOKEN; or {_MEND}",
        ) from error


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _listing(name: str) -> set[str]:
    """File names of `name` on the hub; one request, no retries, so that a machine without a hub knows at once."""
    owned, _, revision = name.partition("@")
    address, token = f"{_endpoint()}/api/models/{owned}", os.environ.get("HF_TOKEN")
    address += f"/revision/{quote(revision, safe='')}" if revision else ""
    request = Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urlopen(request, timeout=_SECONDS) as answer:
            return {file["rfilename"] for file in json.load(answer).get("siblings", [])}
    except (OSError, ValueError) as error:  # no name server, no route, a time-out, HTTP 401 or 404, no JSON
        raise BadInput(f"{name} cannot be reached on the hub: {error}", where=address, mend=_MEND) from error

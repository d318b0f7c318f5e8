"""Reptile: after every few steps on one task the weights go back a part of the way to where these steps began.

    optimizer = Reptile(parameters, inner=8, step=0.5, lr=0.0)        # an AdamW otherwise

Nichol et al., "On First-Order Meta-Learning Algorithms" (2018): phi <- phi + step (W - phi), where W is phi after
`inner` steps on a task. What is learned is a start from which few steps lead far, in whatever task comes. Where the
steps began is kept in the optimizer's state, so that a checkpoint holds it, and a resumed training ends alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

BEGAN = "began"


class Reptile(torch.optim.AdamW):
    """AdamW whose every `inner`-th step ends at `step` of the way from where the first of them began."""

    def __init__(self, parameters: Iterable[Tensor], *, inner: int, step: float, **how: Any) -> None:
        super().__init__(parameters, **how)
        self._inner, self._step = inner, step

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """A step of AdamW; at the end of a task, the step of Reptile."""
        # AdamW makes a state where there is none; what is added before would be taken for one.
        first = {parameter: parameter.detach().clone() for parameter in self._taught() if not self.state[parameter]}
        found = super().step(closure)
        for parameter, began in first.items():
            self.state[parameter][BEGAN] = began
        for parameter in self._taught():
            state = self.state[parameter]
            if int(state["step"]) % self._inner == 0:
                parameter.copy_(state[BEGAN].lerp(parameter, self._step))
                state[BEGAN].copy_(parameter)
        return found

    def _taught(self) -> list[Tensor]:
        return [each for group in self.param_groups for each in group["params"] if each.grad is not None]

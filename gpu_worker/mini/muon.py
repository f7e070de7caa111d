"""Muon: momentum whose update is made orthogonal. For the block matrices of small transformers."""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor

_COEFFICIENTS: Final = ((4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037))
"""Three quintic steps bring singular values near one; five buy nothing here and cost as much as half a step."""


def orthogonalise(stack: Tensor) -> Tensor:
    """The nearest orthogonal matrix, roughly, of each in a stack (N, rows, columns)."""
    transpose = stack.shape[-2] > stack.shape[-1]
    x = stack.mT if transpose else stack
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-7)
    for a, b, c in _COEFFICIENTS:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if transpose else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay; takes matrices only."""

    def __init__(
        self, params: Iterable[Tensor], lr: float = 0.01, momentum: float = 0.95, weight_decay: float = 0.05
    ) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures here
        """One update; matrices of one shape are made orthogonal together."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = []
                for parameter in parameters:
                    state = self.state[parameter]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(parameter)
                    gradient = parameter.grad
                    assert gradient is not None
                    state["momentum"].lerp_(gradient, 1 - group["momentum"])
                    updates.append(torch.lerp(gradient, state["momentum"], group["momentum"]))
                scale = group["lr"] * 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, orthogonalise(torch.stack(updates)), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(update, alpha=scale)

"""Flow matching along the exact optimal couplings of minibatches.

Tong, Fatras, Malkin, Huguet, Zhang, Rector-Brooks, Wolf, Bengio (2023), "Improving and generalizing flow-based
generative models with minibatch optimal transport", arXiv 2302.00482.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from methods.base import Losses, Shape, TransportMap
from methods.parts.divergences import squared_distances
from methods.parts.networks import dense_layers
from methods.parts.optimization import adam, update

MAX_PIVOTS = 10_000_000
"""Of the exact solver, whose default stops before the optimum from about 2,000 points on."""


class OTCFM(TransportMap):
    """A velocity field v with push the flow of dx/dt = v(t, x) from t = 0 to 1, and pull the flow back.

        v minimizes  E ‖v(t, t Y + (1 - t) X + σ ε) - (Y - X)‖²,  t ~ U(0, 1), ε ~ N(0, I),

    with (X, Y) drawn, with replacement, from the optimal plan between the two batches (paper, Algorithm 3 and its
    authors' library). As batches grow, the plan approaches the optimal one and the flow its straight lines; at finite
    batches the flow maps the source to the target, but not optimally. The authors integrate by an adaptive
    Dormand-Prince or 100 steps of Euler; here it is the classical Runge-Kutta method, whose cost is known beforehand.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        hidden: widths of v, a SELU network of (x, t).
        sigma: standard deviation σ of the path about the segment from X to Y.
        integration_steps: Runge-Kutta steps from t = 0 to 1, of four evaluations each.
        lr: Adam's learning rate.
    """

    name = "ot-cfm"
    paper = "Tong et al. 2023, arXiv 2302.00482"
    summary = "flow matching along optimal couplings of minibatches"
    family = "OT map"
    check_params: ClassVar[Mapping[str, Any]] = {"lr": 5e-3, "integration_steps": 5}

    def __init__(
        self,
        shape: Shape,
        *,
        hidden: tuple[int, ...] = (64, 64, 64),
        sigma: float = 0.1,
        integration_steps: int = 20,
        lr: float = 1e-3,
    ) -> None:
        super().__init__(shape)
        if integration_steps < 1:
            raise ValueError(f"ot-cfm: integration_steps is {integration_steps}; it must be at least 1")
        self.sigma = sigma
        self.integration_steps = integration_steps
        self.velocity = dense_layers([self.dim + 1, *hidden, self.dim], nn.SELU)
        self.optimizer = adam(self.velocity.parameters(), lr=lr)

    def push(self, points: Tensor) -> Tensor:
        return self._flow(points, start=0.0, end=1.0)

    def pull(self, points: Tensor) -> Tensor:
        return self._flow(points, start=1.0, end=0.0)

    def train_step(self, source_points: Tensor, target_points: Tensor) -> Losses:
        partners = target_points[optimal_assignment(source_points, target_points)]
        drawn = torch.randint(len(source_points), (len(source_points),), device=source_points.device)
        starts, ends = source_points[drawn], partners[drawn]
        times = torch.rand_like(starts[:, :1])
        places = times * ends + (1 - times) * starts + self.sigma * torch.randn_like(starts)
        loss = (self._velocity(times, places) - (ends - starts)).square().mean()
        update(self.optimizer, loss)
        return {"flow matching": loss.detach()}

    def _velocity(self, times: Tensor, points: Tensor) -> Tensor:
        """v: [B, 1], [B, D] -> [B, D]."""
        return self.velocity(torch.cat([points, times], dim=1))

    def _flow(self, points: Tensor, *, start: float, end: float) -> Tensor:
        """Where the flow has carried points [B, D] of time `start` at time `end`."""
        step = (end - start) / self.integration_steps
        for index in range(self.integration_steps):
            time = torch.full_like(points[:, :1], start + index * step)
            first = self._velocity(time, points)
            second = self._velocity(time + step / 2, points + step / 2 * first)
            third = self._velocity(time + step / 2, points + step / 2 * second)
            fourth = self._velocity(time + step, points + step * third)
            points = points + step / 6 * (first + 2 * second + 2 * third + fourth)
        return points


def optimal_assignment(sources: Tensor, targets: Tensor) -> Tensor:
    """The permutation p that minimizes Σ ‖xᵢ - y_p(i)‖² of two batches [B, D]: int64 [B].

    Raises ValueError for batches of different sizes.
    """
    import ot  # here, as it takes a second

    if len(sources) != len(targets):
        raise ValueError(f"an assignment needs batches of one size, not {len(sources)} and {len(targets)}")
    costs = squared_distances(sources, targets).double().cpu().numpy()
    plan = ot.emd([], [], costs, numItermax=MAX_PIVOTS)
    return torch.from_numpy(np.argmax(plan, axis=1)).to(sources.device)

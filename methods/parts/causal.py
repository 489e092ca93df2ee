"""The causal prior of Gromov–Wasserstein autoencoders (arXiv 2209.07007): noise mixed along a learned acyclic graph."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.priors import NeuralPrior, draw_gumbel


class CausalPrior(nn.Module):
    """The push-forward of N(0, I) by seven linear layers that let through only what a drawn graph allows.

    Every batch has one graph. Last stands a batch norm, with scale and shift, as in the authors' code. There each layer
    takes the noise in place of the layer before it, so that the seventh alone has an effect; here they are a chain.
    """

    num_layers: ClassVar[int] = 7

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.graph = CausalGraph(dim)
        self.layers = nn.ModuleList(CausalLinear(dim) for _ in range(self.num_layers))
        self.batch_norm = nn.BatchNorm1d(dim, momentum=NeuralPrior.momentum)

    def forward(self, count: int, device: torch.device) -> Tensor:
        codes = torch.randn(count, self.dim, device=device)
        mask = self.graph()
        for layer in self.layers:
            codes = layer(codes, mask)
        return self.batch_norm(codes)


class CausalGraph(nn.Module):
    """A learned distribution of directed acyclic graphs (after Charpentier et al., arXiv 2203.08509).

    An order of the nodes, by decreasing scores with Gumbel noise on them, and for each pair an edge or none, drawn
    independently; what remains are the edges into a node from those behind it in the order. In training order and
    edges are relaxed, at temperature 1, so that gradients flow; in evaluation they are hard.

    As in that paper, and in evaluation in the GWAE authors' code, the scores order the nodes; in training theirs uses
    the inverse of that permutation.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.randn(dim))
        self.edge_scores = nn.Parameter(torch.randn(dim, dim))

    def forward(self) -> Tensor:
        """-> [dim, dim] in [0, 1], a draw: whether j (column) is a cause of i (row)."""
        order = neural_sort(self.scores + draw_gumbel(self.scores))
        edges = (2 * self.edge_scores + draw_gumbel(self.edge_scores) - draw_gumbel(self.edge_scores)).sigmoid()
        if not self.training:
            order = F.one_hot(order.argmax(dim=1), len(order)).float()
            edges = edges.round()
        return edges * (order.T @ torch.ones_like(edges).triu(1) @ order)

    def probabilities(self) -> Tensor:
        """-> [dim, dim]: of each edge in evaluation, hence the mean of `forward` there."""
        comes_first = (self.scores[:, None] - self.scores[None, :]).sigmoid()
        return (2 * self.edge_scores).sigmoid() * comes_first.fill_diagonal_(0)


class CausalLinear(nn.Module):
    """x + x (W ∘ maskᵀ) + b: dimension i of the output takes of dimension j of the input where mask[i, j] is not 0."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        limit = dim**-0.5
        self.weight = nn.Parameter(torch.empty(dim, dim).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(dim).uniform_(-limit, limit))

    def forward(self, codes: Tensor, mask: Tensor) -> Tensor:
        return codes + codes @ (self.weight * mask.T) + self.bias


def neural_sort(scores: Tensor) -> Tensor:
    """A relaxed permutation matrix, [n] -> [n, n]: row r weighs who is the r-th largest (arXiv 1903.08850, eq. 5).

    At temperature 1. The largest weight of a row is at the score of that rank.
    """
    n = len(scores)
    slopes = n - 1 - 2 * torch.arange(n, device=scores.device)
    spread = (scores[:, None] - scores[None, :]).abs().sum(dim=1)
    return (slopes[:, None] * scores - spread).softmax(dim=1)

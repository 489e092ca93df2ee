"""Spatial transformers (arXiv 1506.02025): images warped by a transformation that a network makes of codes.

A position is (x, y), horizontal first, and runs from −1 to 1 between the outer edges of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.networks import dense_layers


def split_code(option: str, dims: int, latent_dim: int) -> list[int]:
    """Lengths of a code's two parts: `dims`, for the transformation, and what is left, for what is transformed.

    Raises ValueError where one of them would be empty; it names the hyperparameter that `dims` is of.
    """
    if not 0 < dims < latent_dim:
        raise ValueError(
            f"{option} is {dims} and latent_dim {latent_dim}: {option} must be at least 1 and below latent_dim, "
            "so that both parts of a code have some dimensions"
        )
    return [dims, latent_dim - dims]


def warp(images: Tensor, positions: Tensor) -> Tensor:
    """Images [B, C, H, W] at positions [B, H, W, 2]: bilinear; a position outside has the nearest border's value."""
    return F.grid_sample(images, positions, mode="bilinear", padding_mode="border", align_corners=False)


class AffineTransformer(nn.Module):
    """Images [B, C, H, W] and codes [B, dim] -> images, whose value at p is the input's at A p + t.

    (A, t) is (I, 0) plus the output of a network with two hidden layers of ReLU units, so that it starts near the
    identity.

    Args:
        dim: length of a code.
        units: of a hidden layer.
    """

    def __init__(self, dim: int, units: int) -> None:
        super().__init__()
        self.network = dense_layers([dim, units, units, 6], nn.ReLU)

    def matrices(self, codes: Tensor) -> Tensor:
        """[B, dim] -> [B, 2, 3]: A beside t."""
        return torch.eye(2, 3, device=codes.device) + self.network(codes).unflatten(1, (2, 3))

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        return warp(images, F.affine_grid(self.matrices(codes), list(images.shape), align_corners=False))


class DiffeomorphicTransformer(AffineTransformer):
    """An affine transformer whose (A, t) is a matrix exponential: an inverse exists, whatever the network gives.

    With the network's output V as a velocity, points follow dp/ds = V (p, 1) for a unit of time, so that −V leads
    back (arXiv 1906.11881).
    """

    def matrices(self, codes: Tensor) -> Tensor:
        velocities = self.network(codes).unflatten(1, (2, 3))
        return torch.linalg.matrix_exp(F.pad(velocities, (0, 0, 0, 1)))[:, :2]

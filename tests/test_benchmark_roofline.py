"""The operations of an update, as the benchmark of the roofline counts them, are those counted by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from bench.packed_training import Pack, global_stream
from methods.autoencoders.vae import VAE
from methods.transport.w2gn import W2GN
from tests.benchmarks.bench_roofline import operations


def of_w2gn(dim: int, hidden: tuple[int, ...], count: int) -> int:
    """Of an update of both potentials on batches of `count` points, as `methods/parts/icnn.py` has it, of rank 1."""
    skip = 2 * count * dim * sum(hidden)  # points by A, or by B, of all layers
    carry = 2 * count * sum(wide * narrow for narrow, wide in pairwise(hidden))
    output = 2 * count * hidden[-1]
    forward = 2 * skip + carry + output  # ψ
    gradient = 2 * skip + carry  # ∇ψ
    tangents = 2 * skip + carry
    backward = 4 * skip + 3 * carry + output  # by A and B twice each; by W twice, and through it
    by_points = 2 * skip  # where points are themselves a map's
    return 4 * (forward + gradient + tangents + backward) + 2 * by_points


def update_of_w2gn(dim: int, hidden: tuple[int, ...], count: int, models: int) -> Any:
    methods = [W2GN(dim, hidden=hidden) for _ in range(models)]
    batches = [tuple(torch.randn(2, count, dim)) for _ in methods]
    if models == 1:
        return lambda: methods[0].train_step(*batches[0])
    pack = Pack(methods, [global_stream(torch.device("cpu"))] * models)
    return lambda: pack.step(batches)


def test_all_products_of_w2gn_are_counted_also_in_its_own_derivatives() -> None:
    assert operations(update_of_w2gn(20, (32, 24, 16), 8, models=1)) == of_w2gn(20, (32, 24, 16), 8)


def test_those_of_a_pack_are_those_of_its_models() -> None:
    assert operations(update_of_w2gn(20, (32, 24, 16), 8, models=3)) == 3 * of_w2gn(20, (32, 24, 16), 8)


def test_at_64_dimensions_they_are_those_of_docs_speed() -> None:
    assert of_w2gn(64, (128, 128, 64), 256) // 10**6 == 763


def test_convolutions_are_counted_with_both_their_derivatives() -> None:
    method, count = VAE((3, 16, 16), width=4, latent_dim=5), 8
    forward: list[int] = []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(layer, nn.Linear):
            forward.append(2 * count * layer.in_features * layer.out_features)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            pixels = (output if isinstance(layer, nn.Conv2d) else inputs[0])[0, 0].numel()
            forward.append(2 * count * layer.in_channels * layer.out_channels * 4 * 4 * pixels)

    hooks = [layer.register_forward_hook(note) for layer in method.modules()]
    images = torch.rand(count, 3, 16, 16)
    method.objective(images)
    for hook in hooks:
        hook.remove()
    method.planned_steps = method.steps_per_epoch = 10
    # By its weights and by its inputs; the first layer's inputs are images.
    assert operations(lambda: method.train_step(images)) == 3 * sum(forward) - forward[0]

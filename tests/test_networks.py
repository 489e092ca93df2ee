"""Shapes, ranges and sizes of the shared networks."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from methods.parts.networks import (
    Bordered,
    ChannelsLast,
    Logit,
    Network,
    ToGrey,
    build_decoder,
    build_encoder,
    dense_layers,
)
from methods.parts.optimization import Plateau, decay

SHAPES = [(1, 8, 8), (1, 28, 28), (1, 32, 32), (3, 32, 32), (3, 64, 64)]


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("network", ["conv", "dcgan", "dcgan-plain", "mlp"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_network_takes_every_size(shape: tuple[int, int, int], network: Network, batch_norm: bool) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(network, shape, 6, width=4, batch_norm=batch_norm)
    decoder = build_decoder(network, shape, 3, width=4, batch_norm=batch_norm)
    assert encoder(torch.rand(2, *shape)).shape == (2, 6)
    images = decoder(torch.randn(2, 3))
    assert images.shape == (2, *shape)
    assert images.min() >= 0
    assert images.max() <= 1
    has_norm = any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in (*encoder.modules(), *decoder.modules()))
    assert has_norm == batch_norm


def test_width_32_is_the_network_of_the_gwae_paper() -> None:
    encoder = build_encoder("conv", (3, 64, 64), 128, width=32, batch_norm=False)
    assert [m.out_channels for m in encoder if isinstance(m, nn.Conv2d)] == [32, 64, 128, 256]
    assert [(m.in_features, m.out_features) for m in encoder if isinstance(m, nn.Linear)] == [(4096, 256), (256, 128)]
    decoder = build_decoder("conv", (3, 64, 64), 64, width=32, batch_norm=False)
    assert [(m.in_features, m.out_features) for m in decoder if isinstance(m, nn.Linear)] == [(64, 256), (256, 4096)]
    assert [m.out_channels for m in decoder if isinstance(m, nn.ConvTranspose2d)] == [128, 64, 32, 3]


def test_width_128_is_the_network_of_the_wae_paper() -> None:
    encoder = build_encoder("dcgan", (1, 28, 28), 8, width=128, batch_norm=True)
    assert [m.out_channels for m in encoder if isinstance(m, nn.Conv2d)] == [128, 256, 512, 1024]
    assert {m.kernel_size for m in encoder if isinstance(m, nn.Conv2d)} == {(4, 4)}
    assert [m.in_features for m in encoder if isinstance(m, nn.Linear)] == [2 * 2 * 1024]
    decoder = build_decoder("dcgan", (1, 28, 28), 8, width=128, batch_norm=True)
    assert [m.out_features for m in decoder if isinstance(m, nn.Linear)] == [7 * 7 * 1024]
    transposed = [m for m in decoder if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.out_channels, *m.stride) for m in transposed] == [(512, 2, 2), (256, 2, 2), (1, 1, 1)]


def test_celeba_has_kernels_of_5_and_three_doublings() -> None:
    decoder = build_decoder("dcgan", (3, 64, 64), 64, width=16, batch_norm=True)
    transposed = [m for m in decoder if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.out_channels, *m.stride) for m in transposed] == [(64, 2, 2), (32, 2, 2), (16, 2, 2), (3, 1, 1)]
    assert {m.kernel_size for m in transposed} == {(5, 5)}
    assert [m.out_features for m in decoder if isinstance(m, nn.Linear)] == [8 * 8 * 128]


def test_the_last_layer_of_the_plain_dcgan_doubles_too() -> None:
    decoder = build_decoder("dcgan-plain", (3, 64, 64), 64, width=16, batch_norm=True)
    transposed = [m for m in decoder if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.out_channels, *m.stride) for m in transposed] == [(64, 2, 2), (32, 2, 2), (16, 2, 2), (3, 2, 2)]
    assert [m.out_features for m in decoder if isinstance(m, nn.Linear)] == [4 * 4 * 128]


@pytest.mark.parametrize(
    ("side", "seen_by_first"),
    # The windows of TensorFlow's "same": 5 wide, the first begins a pixel outside; 4 wide, likewise.
    [(64, range(4)), (28, range(3))],
)
def test_convolutions_of_dcgan_are_padded_as_tensorflows(side: int, seen_by_first: range) -> None:
    pad, convolution = build_encoder("dcgan", (1, side, side), 2, width=4, batch_norm=False)[:2]
    images = torch.rand(1, 1, side, side, requires_grad=True)
    features = convolution(pad(images))
    assert features.shape[2:] == (side // 2, side // 2)
    (gradient,) = torch.autograd.grad(features[0, 0, 0, 0], images)
    assert gradient[0, 0].nonzero().tolist() == [[i, j] for i in seen_by_first for j in seen_by_first]


@pytest.mark.parametrize("side", [28, 64])
def test_doublings_of_dcgan_are_the_transposes_of_its_convolutions(side: int) -> None:
    torch.manual_seed(0)
    pad, convolution = build_encoder("dcgan", (1, side, side), 2, width=16, batch_norm=False)[:2]
    transposed, crop = build_decoder("dcgan-plain", (1, side, side), 2, width=2, batch_norm=False)[-3:-1]
    with torch.no_grad():
        transposed.weight.copy_(convolution.weight[: transposed.in_channels])
        convolution.bias.zero_()
        transposed.bias.zero_()
    images, features = torch.randn(1, 1, side, side), torch.randn(1, transposed.in_channels, side // 2, side // 2)
    seen = convolution(pad(images))[:, : transposed.in_channels]
    drawn = crop(transposed(features))
    torch.testing.assert_close((seen * features).sum(), (images * drawn).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (4, 2, 0), (5, 1, 2), (5, 2, 0)])
def test_a_transposed_convolution_to_grey_is_torchs(kernel: int, stride: int, padding: int) -> None:
    ours = ToGrey(6, 1, kernel, stride=stride, padding=padding).double()
    features = torch.randn(3, 6, 5, 7, dtype=torch.float64, requires_grad=True)
    drawn = ours(features)
    expected = nn.ConvTranspose2d.forward(ours, features)
    torch.testing.assert_close(drawn, expected)
    wanted = features, *ours.parameters()
    weights = torch.randn_like(drawn)
    found = torch.autograd.grad((drawn * weights).sum(), wanted)
    torch.testing.assert_close(found, torch.autograd.grad((expected * weights).sum(), wanted))


def test_the_order_of_batch_norm_is_each_papers() -> None:
    conv = [type(m) for m in build_encoder("conv", (1, 28, 28), 2, width=4, batch_norm=True)]
    conv.remove(ChannelsLast)
    assert conv[1:4] == [Bordered, nn.SiLU, nn.BatchNorm2d]
    dcgan = [type(m) for m in build_encoder("dcgan", (1, 28, 28), 2, width=4, batch_norm=True)]
    dcgan.remove(ChannelsLast)
    assert dcgan[1:4] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    mlp = [type(m) for m in build_encoder("mlp", (1, 28, 28), 2, width=4, batch_norm=True)]
    assert mlp[1:4] == [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    mlp = [type(m) for m in build_decoder("mlp", (1, 28, 28), 2, width=4, batch_norm=True)]
    assert mlp[:3] == [nn.Linear, nn.ReLU, nn.BatchNorm1d]


@pytest.mark.parametrize("network", ["conv", "dcgan", "dcgan-plain"])
@pytest.mark.parametrize("shape", [(1, 25, 25), (1, 32, 64), (1, 7, 7)])
def test_a_size_that_cannot_be_halved_is_refused(network: Network, shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f'network "{network}" takes square images'):
        build_decoder(network, shape, 2, width=4, batch_norm=False)


def test_the_mlp_takes_any_size() -> None:
    shape = (1, 25, 31)
    images = build_decoder("mlp", shape, 2, width=4, batch_norm=False)(torch.randn(3, 2))
    assert build_encoder("mlp", shape, 2, width=4, batch_norm=False)(images).shape == (3, 2)


def test_logit_undoes_the_sigmoid() -> None:
    x = torch.linspace(-5, 5, 11)
    torch.testing.assert_close(Logit()(torch.sigmoid(x)), x, atol=1e-4, rtol=0)
    assert torch.isfinite(Logit()(torch.tensor([0.0, 1.0]))).all()


def test_dense_layers_end_in_a_linear_layer() -> None:
    layers = dense_layers([3, 5, 5, 2], nn.ReLU, batch_norm=True)
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert [type(layer) for layer in layers] == kinds


def test_learning_rates_fall_by_steps() -> None:
    factors = [decay("steps", epoch, 150) for epoch in (0, 29, 30, 50, 100)]
    assert factors == pytest.approx([1, 1, 1 / 2, 1 / 10, 1 / 100])


def test_learning_rates_fall_smoothly_to_a_hundredth() -> None:
    factors = [decay("smooth", epoch, 10) for epoch in range(10)]
    assert factors[-1] == pytest.approx(0.01)
    ratios = [later / earlier for earlier, later in pairwise(factors)]
    assert ratios == pytest.approx([0.01**0.1] * 9)


def test_a_plateau_is_ten_epochs_of_steps_without_a_new_lowest_loss() -> None:
    plateau, factors = Plateau(), []
    for _ in range(102):
        plateau.observe(1.0, steps_per_epoch=2)
        factors.append(plateau.factor)
    # 60 steps do nothing; the 21st that waits is the first of more than 10 epochs, and then the 21st anew.
    assert factors.index(1 / 1.4) == 80
    assert factors[80:101] == [1 / 1.4] * 21
    assert factors[101] == pytest.approx(1 / 1.4**2)


def test_a_loss_below_those_of_20_epochs_ends_the_wait() -> None:
    plateau = Plateau()
    for step in range(81):
        plateau.observe(0.9 if step == 70 else 1.0, steps_per_epoch=2)
    assert plateau.factor == 1
    for _ in range(11):
        plateau.observe(1.0, steps_per_epoch=2)
    assert plateau.factor == 1 / 1.4


def test_plateaus_lower_learning_rates_to_a_millionth_at_most() -> None:
    plateau = Plateau()
    for _ in range(30 + 11 * 60):
        plateau.observe(1.0, steps_per_epoch=1)
    assert plateau.factor == 1e-6


def test_a_constant_learning_rate_stays() -> None:
    assert decay("constant", 99, 100) == 1


@pytest.mark.parametrize("network", ["conv", "dcgan", "dcgan-plain"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_convolutions_but_the_first_see_channels_side_by_side(shape: tuple[int, int, int], network: Network) -> None:
    encoder = build_encoder(network, shape, 6, width=4, batch_norm=True)
    decoder = build_decoder(network, shape, 3, width=4, batch_norm=True)
    seen = []
    for layer in (*encoder, *decoder):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.rand(2, *shape))
    decoder(torch.randn(2, 3))
    _, *others = seen
    assert len(others) >= 3
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images in others)

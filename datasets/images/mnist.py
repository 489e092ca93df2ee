"""MNIST as its authors split it."""

from __future__ import annotations

from datasets.images.idx import IdxImages, idx_files


class Mnist(IdxImages):
    """70,000 handwritten digits: the official 10,000 for test, 60,000 for training less 10% of each class (validation).

    Args:
        size: 28; 32 with two black pixels added on every side; or 64, scaled bilinearly and repeated to 3 channels, as
            for the Gromov–Wasserstein autoencoder (arXiv 2209.07007).
    """

    name = "mnist"
    summary = "70,000 handwritten digits, 28×28, padded to 32×32 or scaled to 64×64, official test set"
    license = "CC BY-SA 3.0"
    citation = (
        "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition. Proc. IEEE 1998"
    )
    url = "https://yann.lecun.org/exdb/mnist/"
    files = idx_files(
        "mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3": ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
            "train-labels-idx1": ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
            "t10k-images-idx3": ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
            "t10k-labels-idx1": ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
        },
    )

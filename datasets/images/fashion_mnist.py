"""Fashion-MNIST as its authors split it."""

from __future__ import annotations

from datasets.images.idx import IdxImages, idx_files


class FashionMnist(IdxImages):
    """70,000 photographs of clothes from a shop, grey on black: 10,000 for test, 60,000 for training less 10%.

    The split into training and test is official; 10% of each class of the former are for validation. Classes, from 0:
    T-shirt, trousers, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot. The checksums are
    tensorflow_datasets'.

    Args:
        size: 28; 32 with two black pixels added on every side; or 64, scaled bilinearly and repeated to 3 channels, as
            MNIST was for the Gromov–Wasserstein autoencoder (arXiv 2209.07007).
    """

    name = "fashion-mnist"
    summary = "70,000 photographs of clothes, 28×28, padded to 32×32 or scaled to 64×64, official test set"
    license = "MIT"
    citation = (
        "Xiao, Rasul, Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms. 2017"
    )
    url = "https://github.com/zalandoresearch/fashion-mnist"
    files = idx_files(
        "fashion-mnist",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3": ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880),
            "train-labels-idx1": ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515),
            "t10k-images-idx3": ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102),
            "t10k-labels-idx1": ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148),
        },
    )

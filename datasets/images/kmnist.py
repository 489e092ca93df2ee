"""Kuzushiji-MNIST as its authors split it."""

from __future__ import annotations

from datasets.images.idx import IdxImages, idx_files


class Kmnist(IdxImages):
    """70,000 cursive Japanese characters from old books: 10,000 for test, 60,000 for training less 10%.

    The split into training and test is official; 10% of each class of the former are for validation. Classes, from 0:
    o, ki, su, tsu, na, ha, ma, ya, re, wo. The checksums are tensorflow_datasets'.

    Args:
        size: 28; 32 with two black pixels added on every side; or 64, scaled bilinearly and repeated to 3 channels, as
            MNIST was for the Gromov–Wasserstein autoencoder (arXiv 2209.07007).
    """

    name = "kmnist"
    summary = "70,000 cursive Japanese characters, 28×28, padded to 32×32 or scaled to 64×64, official test set"
    license = (
        'CC BY-SA 4.0: "KMNIST Dataset" (created by CODH), adapted from "Kuzushiji Dataset" (created by NIJL and '
        "others), doi:10.20676/00000341"
    )
    citation = (
        "Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto, Ha: Deep learning for classical Japanese literature. 2018"
    )
    url = "https://codh.rois.ac.jp/kmnist/"
    files = idx_files(
        "kmnist",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        {
            "train-images-idx3": ("51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4", 18_165_135),
            "train-labels-idx1": ("e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17", 29_497),
            "t10k-images-idx3": ("edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5", 3_041_136),
            "t10k-labels-idx1": ("20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c", 5_120),
        },
    )

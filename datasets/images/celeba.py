"""CelebA: aligned faces, scaled to 64×64, most often after a crop, as the papers do that compare on it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from datasets.base import DataError, ImageDataset, ImageSplit, RemoteFile
from datasets.images.scratch import disk_images

PHOTOGRAPHS, PARTITION, ATTRIBUTES = "img_align_celeba.zip", "list_eval_partition.txt", "list_attr_celeba.txt"
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
SPLITS = {"train": 0, "validation": 1, "test": 2}
WIDTH, HEIGHT = 178, 218
SIZE = 64

Crop = Literal[140, 144, 148, "none"]


class CelebA(ImageDataset):
    """202,599 photographs of celebrities' faces: 162,770 for training, 19,867 for validation, 19,962 for test.

    The splits and their order are official. The files are on a Google drive, which limits downloads; where it refuses,
    they can be placed by hand. The checksums are tensorflow_datasets'.

    Args:
        crop: side of the central square in pixels of 178×218: 140, scaled by Lanczos' filter, is "closecrop" of the
            Wasserstein autoencoder's authors, of RAE and many others; 144, scaled bilinearly, that of the
            Gromov–Wasserstein autoencoder's; 148, likewise, is wide-spread too. "none" scales the whole photograph
            bilinearly, which makes faces broader: thus the authors of Wasserstein-2 generative networks (W2GN) have it
            done. FIDs of different crops do not compare.
        attribute: the one of the 40 annotated attributes that is the class (1: has it), such as "Smiling"; by default
            there are no classes.
    """

    name = "celeba"
    summary = "202,599 faces of celebrities, cropped and scaled to 64×64, official splits"
    license = "non-commercial research only, by the agreement on its page"
    citation = "Liu, Luo, Wang, Tang: Deep learning face attributes in the wild. ICCV 2015"
    url = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    identifying = "all of it: faces of 10,177 known people, who can be recognized"
    image_shape = (3, SIZE, SIZE)
    num_images = 202_599
    files = (
        RemoteFile(
            PHOTOGRAPHS,
            DRIVE + "0B7EVK8r0v71pZjFTYXZWM3FlRnM",
            sha256="46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
            size=1_443_490_838,
        ),
        RemoteFile(
            PARTITION,
            DRIVE + "0B7EVK8r0v71pY0NSMzRuSXJEVkk",
            sha256="fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
            size=2_836_386,
        ),
        RemoteFile(
            ATTRIBUTES,
            DRIVE + "0B7EVK8r0v71pblRyaVFSWGxPY0U",
            sha256="f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
            size=26_721_026,
        ),
    )

    def __init__(self, *, crop: Crop = 140, attribute: str = "") -> None:
        self.crop = crop
        self.attribute = attribute
        self.num_classes = 2 if attribute else 0

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        partition = _read_partition(files[PARTITION])
        labels = _read_attribute(files[ATTRIBUTES], self.attribute) if self.attribute else {}
        if labels and (missing := [name for name in partition if name not in labels]):
            raise DataError(f"{files[ATTRIBUTES]} lacks {missing[0]}. Delete it to download it again")
        names = {split: [name for name in partition if partition[name] == number] for split, number in SPLITS.items()}
        photographs = self._read_photographs(files[PHOTOGRAPHS], [name for part in names.values() for name in part])
        ends = np.cumsum([len(part) for part in names.values()])
        return {
            split: ImageSplit(images, np.array([labels[name] for name in names[split]], np.int64) if labels else None)
            for split, images in zip(SPLITS, np.split(photographs, ends[:-1]), strict=True)
        }

    def _read_photographs(self, path: Path, names: list[str]) -> np.ndarray:
        """uint8 [N, 3, 64, 64], on disk."""
        images = disk_images((len(names), *self.image_shape), path.parent)
        width, height = (WIDTH, HEIGHT) if self.crop == "none" else (self.crop, self.crop)
        left, top = (WIDTH - width) // 2, (HEIGHT - height) // 2
        box = (left, top, left + width, top + height)
        resampling = Image.Resampling.LANCZOS if self.crop == 140 else Image.Resampling.BILINEAR
        name = "the list of photographs"
        try:
            with zipfile.ZipFile(path) as archive:
                for number, name in enumerate(names):
                    with archive.open(f"img_align_celeba/{name}") as file, Image.open(file, formats=["JPEG"]) as photo:
                        if photo.size != (WIDTH, HEIGHT):  # known from the header, before anything is decoded
                            raise DataError(
                                f"{path}: {name} has {photo.width}×{photo.height} pixels, not {WIDTH}×{HEIGHT}. "
                                "Delete it to download it again"
                            )
                        face = photo.convert("RGB").crop(box).resize((SIZE, SIZE), resampling)
                    images[number] = np.asarray(face).transpose(2, 0, 1)
        except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"cannot read {name} in {path}: {error}. Delete it to download it again") from error
        return images


def _read_partition(path: Path) -> dict[str, int]:
    """The split (0, 1 or 2) of each photograph by its name, of lines "000001.jpg 0"."""
    rows = [line.split() for line in _lines(path)]
    if {row[1] for row in rows if len(row) == 2} != {"0", "1", "2"} or any(len(row) != 2 for row in rows):
        raise DataError(
            f'{path} is no list of splits, lines like "000001.jpg 0" with all of 0, 1 and 2. '
            "Delete it to download it again"
        )
    return {name: int(split) for name, split in rows}


def _read_attribute(path: Path, attribute: str) -> dict[str, int]:
    """1 or 0 by the photograph's name, of lines "000001.jpg -1 1 …" under their number and the attributes' names."""
    lines = _lines(path)
    names = lines[1].split() if len(lines) > 1 else []
    if attribute not in names:
        raise DataError(
            f'{path} has no attribute "{attribute}", but {", ".join(names) or "none: delete it to download it again"}'
        )
    rows = [line.split() for line in lines[2:]]
    column = 1 + names.index(attribute)
    if any(len(row) != 1 + len(names) or row[column] not in ("-1", "1") for row in rows) or lines[0] != str(len(rows)):
        raise DataError(
            f"{path} is damaged: after its first two lines there must be {lines[0]} of a name and {len(names)} values, "
            "-1 or 1. Delete it to download it again"
        )
    return {row[0]: int(row[column] == "1") for row in rows}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}. Delete it to download it again") from error

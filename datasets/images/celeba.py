"""CelebA: aligned faces, cropped and scaled to 64×64 as the papers do that compare on it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from datasets.base import ImageDataset, ImageSplit, RemoteFile
from datasets.cache import DataError
from datasets.images.scratch import disk_images

PHOTOGRAPHS, PARTITION, ATTRIBUTES = "img_align_celeba.zip", "list_eval_partition.txt", "list_attr_celeba.txt"
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
SPLITS = {"train": 0, "validation": 1, "test": 2}
WIDTH, HEIGHT = 178, 218
SIZE = 64

Crop = Literal[140, 144, 148]
FILTERS = {140: Image.Resampling.LANCZOS, 144: Image.Resampling.BILINEAR, 148: Image.Resampling.BILINEAR}


class CelebA(ImageDataset):
    """202,599 photographs of celebrities' faces: 162,770 for training, 19,867 for validation, 19,962 for test.

    The splits and their order are official. The files are on a Google drive, which limits downloads; where it refuses,
    they can be placed by hand.

    Args:
        crop: side of the central square in pixels of 178×218: 140, scaled by Lanczos' filter, is "closecrop" of the
            Wasserstein autoencoder's authors, of RAE and many others; 144, scaled bilinearly, that of the
            Gromov–Wasserstein autoencoder's; 148, likewise, is wide-spread too. FIDs of different crops do not compare.
        attribute: the one of the 40 annotated attributes that is the class (1: has it), such as "Smiling"; by default
            there are no classes.
    """

    name = "celeba"
    summary = "202,599 faces of celebrities, cropped and scaled to 64×64, official splits"
    license = "non-commercial research only, by the agreement on its page"
    citation = "Liu, Luo, Wang, Tang: Deep learning face attributes in the wild. ICCV 2015"
    url = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    image_shape = (3, SIZE, SIZE)
    files = (
        RemoteFile(PHOTOGRAPHS, DRIVE + "0B7EVK8r0v71pZjFTYXZWM3FlRnM", md5="00d2c5bc6d35e252742224ab0c1e8fcb"),
        RemoteFile(PARTITION, DRIVE + "0B7EVK8r0v71pY0NSMzRuSXJEVkk", md5="d32c9cbf5e040fd4025c592c306e6668"),
        RemoteFile(ATTRIBUTES, DRIVE + "0B7EVK8r0v71pblRyaVFSWGxPY0U", md5="75e246fa4810816ffd6ee81facbd244c"),
    )

    def __init__(self, *, crop: Crop = 140, attribute: str = "") -> None:
        self.crop = crop
        self.attribute = attribute
        self.num_classes = 2 if attribute else 0

    def build(self, files: Mapping[str, Path]) -> dict[str, ImageSplit]:
        partition = _read_partition(files[PARTITION])
        labels = _read_attribute(files[ATTRIBUTES], self.attribute) if self.attribute else {}
        splits = {}
        for split, number in SPLITS.items():
            names = [name for name, part in partition.items() if part == number]
            if labels and (missing := [name for name in names if name not in labels]):
                raise DataError(f"{files[ATTRIBUTES]} lacks {missing[0]}. Delete it to download it again")
            splits[split] = ImageSplit(
                images=self._read_photographs(files[PHOTOGRAPHS], names),
                labels=np.array([labels[name] for name in names], np.int64) if labels else None,
            )
        return splits

    def _read_photographs(self, path: Path, names: list[str]) -> np.ndarray:
        """uint8 [N, 3, 64, 64], on disk."""
        images = disk_images((len(names), *self.image_shape), path.parent)
        left, top = (WIDTH - self.crop) // 2, (HEIGHT - self.crop) // 2
        box = (left, top, left + self.crop, top + self.crop)
        name = ""
        try:
            with zipfile.ZipFile(path) as archive:
                for number, name in enumerate(names):
                    with archive.open(f"img_align_celeba/{name}") as file, Image.open(file, formats=["JPEG"]) as photo:
                        if photo.size != (WIDTH, HEIGHT):  # known from the header, before anything is decoded
                            raise DataError(
                                f"{path}: {name} has {photo.width}×{photo.height} pixels, not {WIDTH}×{HEIGHT}. "
                                "Delete it to download it again"
                            )
                        face = photo.convert("RGB").crop(box).resize((SIZE, SIZE), FILTERS[self.crop])
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

"""The page of documentation that says what each dataset is: docs/datasets.md, and `python -m bench list datasets`."""

from __future__ import annotations

import inspect
import math

from rich.filesize import decimal

from bench.metric_docs import toml
from bench.options import options_of
from bench.registry import all_datasets
from datasets.base import Dataset, ImageDataset, PairDataset

PREFACE = """\
# Datasets

Made by `python -m bench list datasets > docs/datasets.md` from what each dataset says of itself.

A dataset is named in sweeps.toml, with its options: `datasets.celeba = { crop = 148 }`; a list of values is that many
datasets. `python -m bench prepare NAME`, or `prepare --sweep SWEEP` with a sweep's options, downloads what is needed
and builds it under `$BENCH_DATA` (or `--data`, or ~/.cache/ot-bench), once for all trials; those without a download are
built when first used. Sizes are those of the default options.
"""


def datasets_page() -> str:
    """Markdown: a section a kind, and in it an entry a dataset."""
    parts = [PREFACE]
    for title, base in (("Images", ImageDataset), ("Pairs of distributions", PairDataset)):
        parts.append(f"## {title}\n")
        parts += [_entry(cls) for cls in all_datasets().values() if issubclass(cls, base)]
    return "\n".join(parts)


def _entry(cls: type[Dataset]) -> str:
    schema = options_of(cls)
    facts = {
        "Images": _images(cls()) if issubclass(cls, ImageDataset) else "",
        "Options": ", ".join(f"`{option.name} = {toml(option.default)}`" for option in schema.values()),
        "Download": _download(cls),
        "License": cls.license,
        "Identifying": cls.identifying,
        "Source": f"{cls.citation}{f', <{cls.url}>' if cls.url else ''}",
    }
    lines = [
        f"### `{cls.name}`\n",
        f"{inspect.getdoc(cls)}\n",
        *(f"{key}: {value}  " for key, value in facts.items() if value),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _images(dataset: ImageDataset) -> str:
    channels, height, width = dataset.image_shape
    words = [f"{height}×{width}, {'color' if channels == 3 else 'grey'}"]
    if dataset.num_images:
        size = decimal(dataset.num_images * math.prod(dataset.image_shape))
        words.append(f"{dataset.num_images:,}, {size} when built")
    if dataset.num_classes:
        words.append(f"{dataset.num_classes} classes")
    if dataset.factors:
        words.append(f"factors {', '.join(f'{factor.name} ({factor.size})' for factor in dataset.factors)}")
    return "; ".join(words)


def _download(cls: type[Dataset]) -> str:
    if not cls.files:
        return ""
    known = all(file.size for file in cls.files)
    size = f", {decimal(sum(file.size for file in cls.files))}" if known else ""
    return f"{len(cls.files)} file{'s' if len(cls.files) > 1 else ''}{size}"

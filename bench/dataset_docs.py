"""The page of documentation that says what each dataset is: docs/datasets.md, and `python -m bench list datasets`."""

from __future__ import annotations

import inspect
import math
import re

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
    text, arguments = _parts(inspect.getdoc(cls) or "")
    schema, dataset = options_of(cls), cls()
    facts = {
        "Images": _images(dataset) if isinstance(dataset, ImageDataset) else "",
        "Options": ", ".join(f"`{option.name} = {toml(option.default)}`" for option in schema.values()),
        "Download": _download(dataset),
        "License": cls.license,
        "Identifying": cls.identifying,
        "Source": f"{cls.citation}{f', <{cls.url}>' if cls.url else ''}",
    }
    listed = [*arguments, ""] if arguments else []
    lines = [
        f"### `{cls.name}`\n",
        f"{text}\n",
        *listed,
        *(f"{key}: {value}  " for key, value in facts.items() if value),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _parts(docstring: str) -> tuple[str, list[str]]:
    """What stands before its sections, and a line of a list for each entry of "Args"."""
    text, _, sections = docstring.partition("\nArgs:\n")
    arguments = sections.split("\n\n")[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, flags=re.MULTILINE)
    return text.strip(), [f"- `{name}`: {' '.join(words.split())}" for name, words in entries]


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


def _download(dataset: Dataset) -> str:
    files = dataset.files
    if not files:
        return ""
    size = decimal(sum(file.size for file in files)) if all(file.size for file in files) else "of a size not published"
    return f"{len(files)} file{'s' if len(files) > 1 else ''}, {size}"

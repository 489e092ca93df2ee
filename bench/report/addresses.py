"""Where everything stands in the report: one page a sweep at a scale, a published table, a method, and a trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.report.exports import file_name
from bench.report.paper_view import paper_slug
from bench.report.records import Section

LONGEST = 100
"""Characters of a file's name before its ending."""


@dataclass(frozen=True)
class Addresses:
    """Addresses from the report's folder, by the slug of section or published table, the method's name, the trial's id.

    pictures: of a trial's folder of pictures.
    """

    sweeps: dict[str, str]
    papers: dict[str, str]
    methods: dict[str, str]
    trials: dict[str, str]
    pictures: dict[str, str]

    @classmethod
    def of(cls, sections: Sequence[Section]) -> Addresses:
        slugs = file_names(section.slug for section in sections)
        papers = file_names(paper_slug(key, section.scale) for section in sections for key in section.published)
        methods = file_names(setting.method for section in sections for setting in section.settings.values())
        trials = file_names(trial_id for section in sections for trial_id in section.records)
        return cls(
            {slug: f"sweeps/{name}.html" for slug, name in slugs.items()},
            {paper: f"papers/{name}.html" for paper, name in papers.items()},
            {method: f"methods/{name}.html" for method, name in methods.items()},
            {trial_id: f"trials/{name}.html" for trial_id, name in trials.items()},
            {trial_id: f"pictures/{name}" for trial_id, name in trials.items()},
        )


def file_names(texts: Iterable[str]) -> dict[str, str]:
    """A file name for each text, no two of them the same on a disk that does not tell capitals from small letters."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for text in dict.fromkeys(texts):
        base = name = file_name(text)[:LONGEST]
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        names[text] = name
    return names

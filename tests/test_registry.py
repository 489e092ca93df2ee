"""Methods and datasets are found by their names, and no others are imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import registry
from methods.base import Method

ROOT = Path(__file__).parent.parent
METHOD = """
from methods.base import TransportMap

class Found(TransportMap):
    name = {name}
"""


@pytest.fixture
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of methods of its own; its modules are written by the test."""
    name = f"methods_of_{request.node.name.partition('[')[0]}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return name


def write(folder: Path, package: str, **modules: str) -> None:
    for module, text in modules.items():
        (folder / package / f"{module}.py").write_text(text)


def test_a_trial_imports_its_own_method_and_dataset_only() -> None:
    program = (
        "import sys\n"
        "from bench.registry import find_dataset, find_method\n"
        "assert (find_method('identity').name, find_dataset('gaussians').name) == ('identity', 'gaussians')\n"
        "print(*sorted(name for name in sys.modules if name.startswith(('methods.', 'datasets.pairs', 'ot.'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = "datasets.pairs datasets.pairs.gaussians methods.autoencoders methods.base methods.parts"
    assert done.stdout.split() == [*expected.split(), "methods.transport", "methods.transport.identity"]


def test_what_cannot_be_imported_is_in_nobody_elses_way(tmp_path: Path, package: str) -> None:
    write(tmp_path, package, broken="import nonsense", sound=METHOD.format(name='"sound"'))
    found = registry._find("sound", package, Method)
    assert found is not None
    assert found.name == "sound"


def test_a_name_that_is_not_stated_as_a_text_is_found(tmp_path: Path, package: str) -> None:
    write(tmp_path, package, method=METHOD.format(name='"a-" + "name"'), other=METHOD.format(name='"other"'))
    found = registry._find("a-name", package, Method)
    assert found is not None
    assert found.name == "a-name"
    assert registry._find("no-name", package, Method) is None


def test_a_name_that_is_stated_twice_is_an_error(tmp_path: Path, package: str) -> None:
    write(tmp_path, package, first=METHOD.format(name='"same"'), second=METHOD.format(name='"same"'))
    with pytest.raises(ValueError, match="two classes are named 'same'"):
        registry._find("same", package, Method)

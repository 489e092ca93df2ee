"""No pickle is ever loaded, no text is ever run as code: found out from the syntax of every file of the repository."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch

from bench.metrics.extractors import InceptionV3, _inception
from bench.metrics.weights import tensors_only

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("bench", "methods", "datasets")
NEVER = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads", "dill.load"),
    *("dill.loads", "joblib.load", "marshal.load", "marshal.loads", "shelve.open", "pd.read_pickle", "pd.eval"),
    *("pandas.read_pickle", "yaml.load", "yaml.unsafe_load", "eval", "exec", "compile", "__import__", "os.system"),
    *("os.popen", "torch.jit.load", "torch.package.PackageImporter", "tempfile.mktemp", "input"),
}
"""Calls that run what they read."""
REQUIRED = {
    "torch.load": ("weights_only", True),
    "torch.hub.load_state_dict_from_url": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
"""Calls that may, unless they are told not to."""
FORBIDDEN = {"shell": True, "trust_remote_code": True, "allow_pickle": True, "weights_only": False}
"""Arguments that no call has."""
EXTRACTS = (".extractall", ".extract", "unpack_archive")
"""Methods that write files where an archive says."""
IMPORTS = {
    "bench/registry.py": "walks methods/ and datasets/, whose files are the repository's",
    "bench/ray_session.py": "the methods of the trials to run, which the user named",
    "bench/metrics/base.py": "walks bench/metrics",
    "bench/metrics/disentanglement/points.py": "a module of disent, by a name that stands in the code",
    "bench/torchvision_compat.py": "torchvision",
    "methods/autoencoders/latent_ot.py": "walks methods/",
}
"""The files that import modules by names made at run time, and why."""


class Payload:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(place, dotted name, call) of every call in the repository."""
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            name = path.relative_to(REPOSITORY).as_posix()
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield f"{name}:{node.lineno}", ast.unparse(node.func), node


def argument(call: ast.Call, name: str) -> object:
    """The constant given for a keyword argument; None where there is none."""
    return next((k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None)


def test_no_call_runs_what_it_reads() -> None:
    assert [(place, called) for place, called, _ in calls() if called in NEVER] == []


def test_files_that_may_hold_pickles_are_read_without_them() -> None:
    for place, called, call in calls():
        if called in REQUIRED:
            name, value = REQUIRED[called]
            assert argument(call, name) is value, f"{place}: {called} without {name}={value}"


def test_no_argument_allows_code() -> None:
    for place, called, call in calls():
        for name, value in FORBIDDEN.items():
            assert argument(call, name) is not value, f"{place}: {called}({name}={value})"


def test_no_archive_says_where_its_files_go() -> None:
    assert [place for place, called, _ in calls() if called.endswith(EXTRACTS)] == []


def test_modules_are_imported_by_names_of_ours() -> None:
    found = {place.split(":")[0] for place, called, _ in calls() if called.endswith("import_module")}
    assert found == IMPORTS.keys()


def test_a_package_that_unpickles_anything_reads_tensors_only(tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(2), "more": Payload(tmp_path / "unpickled")}, tmp_path / "weights.pth")
    with tensors_only(), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "weights.pth", weights_only=False)
    assert not (tmp_path / "unpickled").exists()
    torch.load(tmp_path / "weights.pth", weights_only=False)
    assert (tmp_path / "unpickled").exists()  # the payload is one


def test_the_inception_network_reads_tensors_only(tmp_path: Path) -> None:
    """Also where its file has the right checksum: here nothing but the checksum is off."""
    torch.save({"weights": Payload(tmp_path / "unpickled")}, tmp_path / "weights.pth")
    _inception.cache_clear()
    with (
        mock.patch("bench.metrics.extractors.locate", return_value=tmp_path / "weights.pth"),
        pytest.raises(pickle.UnpicklingError),
    ):
        _inception(InceptionV3())
    assert not (tmp_path / "unpickled").exists()

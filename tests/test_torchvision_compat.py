"""The cure for a torchvision built for another torch, tried on stand-ins for torchvision in fresh processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BROKEN = """
from . import operators
import torch
for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}")(lambda *args: args[0])
"""


def run(code: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs code with `folder` first on the path."""
    path = f"import sys; sys.path.insert(0, {str(folder)!r})\n" if folder else ""
    return subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=False)


def stand_in(folder: Path, source: str) -> Path:
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(source)
    (package / "operators.py").write_text("")
    return folder


def test_metrics_libraries_import_beside_the_torchvision_at_hand() -> None:
    code = """
from bench.torchvision_compat import import_torchvision
torchvision = import_torchvision()
import disent.metrics, torch_fidelity, torch
assert torchvision is sys.modules["torchvision"] is import_torchvision()
assert torchvision.transforms.Resize(4)(torch.zeros(3, 8, 8)).shape == (3, 4, 4)
"""
    done = run("import sys\n" + code)
    assert done.returncode == 0, done.stderr


def test_a_torchvision_without_its_operators_is_cured(tmp_path: Path) -> None:
    stand_in(tmp_path, BROKEN)
    assert "operator torchvision::nms does not exist" in run("import torchvision", tmp_path).stderr
    code = "from bench.torchvision_compat import import_torchvision; print(import_torchvision().operators.__name__)"
    done = run(code, tmp_path)
    assert done.stdout.strip() == "torchvision.operators", done.stderr


def test_a_torchvision_that_imports_is_left_alone(tmp_path: Path) -> None:
    stand_in(tmp_path, "")
    code = """
from bench.torchvision_compat import import_torchvision
import_torchvision()
import torch
print(hasattr(torch.ops.torchvision, "nms"))
"""
    assert run(code, tmp_path).stdout.strip() == "False"


def test_any_other_error_of_torchvision_is_raised_as_it_is(tmp_path: Path) -> None:
    stand_in(tmp_path, "raise RuntimeError('broken in another way')")
    done = run("from bench.torchvision_compat import import_torchvision; import_torchvision()", tmp_path)
    assert done.stderr.strip().endswith("RuntimeError: broken in another way")

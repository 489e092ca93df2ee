"""The recipes of docs/cluster.md are what they claim to be, as far as one machine can tell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TEXT = (Path(__file__).parent.parent / "docs" / "cluster.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


def test_the_slurm_script_is_bash() -> None:
    checked = subprocess.run(["bash", "-n"], input=block("bash"), capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_kuberay_cluster_is_yaml_whose_containers_have_the_credentials() -> None:
    yaml = pytest.importorskip("yaml")
    spec = yaml.safe_load(block("yaml"))["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    containers = [container for group in groups for container in group["template"]["spec"]["containers"]]
    assert [container["envFrom"][0]["secretRef"]["name"] for container in containers] == ["ot-bench-bucket"] * 2

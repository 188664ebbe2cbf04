"""Imports run one way, so that each layer can be understood without those above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "onehop"

# What each package may import, besides itself. The CLI may use the simulation for `trace --offline`.
MAY_IMPORT: dict[str, set[str]] = {
    "model": set(),
    "linux": set(),
    "simulation": {"model"},
    "compiler": {"model", "datapath"},  # the declarations of tables
    "store": {"model"},
    "feed": {"model"},
    "services": {"model"},
    "edge": {"model"},
    "controller": {"model", "simulation", "store", "feed"},
    "datapath": {"model", "linux"},
    "agent": {"model", "compiler", "datapath", "feed", "services", "edge", "linux"},
    "client": {"model"},
    "cli": {"model", "client", "simulation"},
    "integrations": {"model", "client"},
    "lab": {"model", "client", "linux"},
}


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The Onehop packages that a file names in its imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("onehop."):
            yield node.module.split(".")[1], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "onehop":
            for alias in node.names:
                if (SOURCE / alias.name).is_dir():
                    yield alias.name, node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("onehop."):
                    yield alias.name.split(".")[1], node.lineno


@pytest.mark.parametrize("package", sorted(p.name for p in SOURCE.iterdir() if (p / "__init__.py").exists()))
def test_imports_run_one_way(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} imports {name}"
        for path in sorted((SOURCE / package).rglob("*.py"))
        for name, line in imported(path)
        if name not in allowed
    ]
    assert not wrong

"""What benches share: medians, tables, and the files that hold the figures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def machine() -> str:
    """What it is, and how busy it is: figures of a busy machine are worth little."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    about = f"{os.cpu_count()} CPUs, kernel {platform.release()}, Python {platform.python_version()}"
    return f"{about}, load average {load}"


def show(figures: Mapping[str, float], units: Mapping[str, str]) -> None:
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"  {name:<{width}}  {value:>12,.2f}  {units.get(name, '')}", flush=True)


def write(name: str, figures: Mapping[str, float]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({key: round(value, 4) for key, value in figures.items()}, indent=2) + "\n")
    return path

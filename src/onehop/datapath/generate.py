"""Writes the C headers that come from Python: `python -m onehop.datapath.generate`."""

from __future__ import annotations

from pathlib import Path

from onehop.datapath.headers import layouts_header, tables_header, vocabulary_header
from onehop.datapath.tables import CONSTANTS, ENUMERATIONS, LAYOUTS, TABLES

__all__ = ["GENERATED", "headers", "write"]

GENERATED = Path(__file__).parent / "bpf" / "generated"


def headers() -> dict[str, str]:
    """File names and their text, as they ought to be."""
    return {
        "layouts.h": layouts_header(LAYOUTS),
        "tables.h": tables_header(TABLES),
        "vocabulary.h": vocabulary_header(ENUMERATIONS, CONSTANTS),
    }


def write(folder: Path = GENERATED) -> list[Path]:
    """Write what has changed, and return that."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, text in headers().items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(path)
    return changed


if __name__ == "__main__":
    for written in write():
        print(written)

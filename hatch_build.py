"""Puts the compiled eBPF objects into wheels and source distributions, so that installing needs no clang."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledPrograms(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # a checkout compiles them when they are first asked for
            return
        sys.path.insert(0, str(Path(self.root) / "src"))
        try:
            from onehop.datapath import build

            objects = build.build_all()
        finally:
            sys.path.pop(0)
        build_data["artifacts"] += [f"/{path.relative_to(self.root)}" for path in objects]

"""What the eBPF programs and Python share: every struct and every enumeration, each declared once.

`python -m onehop.datapath.generate` writes them out for C; a test holds the written headers to this file.
"""

from __future__ import annotations

import enum

from onehop.datapath.layouts import Layout
from onehop.model.vocabulary import MAX_DEVICES, Drop, Stage, TunnelFlag

__all__ = ["CONSTANTS", "ENUMERATIONS", "LAYOUTS"]

LAYOUTS: tuple[type[Layout], ...] = ()
ENUMERATIONS: tuple[type[enum.IntEnum] | type[enum.IntFlag], ...] = (Stage, Drop, TunnelFlag)
CONSTANTS: dict[str, int] = {"MAX_DEVICES": MAX_DEVICES}

"""What goes over the underlay: a frame, and who sent it to whom.

VXLAN (RFC 7348) in UDP. Its reserved fields carry the source port and the flags:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-----------------------------------------------+
    |0 0 0 0 1 0 0 0|           key of the source port              |
    +-+-+-+-+-+-+-+-+-----------------------------------------------+
    |   key of the port or network it is for        |     flags     |
    +-----------------------------------------------+---------------+
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from onehop.model.formats import Ip
from onehop.model.kinds import MAX_KEY
from onehop.model.vocabulary import TunnelFlag

HEADER = struct.Struct("!II")
VNI_PRESENT = 0x08
KNOWN_FLAGS = int(~TunnelFlag(0))


@dataclass(frozen=True, slots=True)
class Header:
    """The eight bytes in front of the frame."""

    target: int  # key of a port; with FLOOD, of a network
    source: int  # key of the port that the frame came from
    flags: TunnelFlag

    def pack(self) -> bytes:
        return HEADER.pack(VNI_PRESENT << 24 | self.source, self.target << 8 | self.flags)

    @classmethod
    def unpack(cls, data: bytes) -> Header | None:
        """None where this is no header of ours."""
        if len(data) < HEADER.size:
            return None
        first, second = HEADER.unpack_from(data)
        if first >> 24 != VNI_PRESENT or second & 0xFF & ~KNOWN_FLAGS:
            return None
        return cls(second >> 8, first & MAX_KEY, TunnelFlag(second & 0xFF))


@dataclass(frozen=True, slots=True)
class Envelope:
    """A packet of the underlay, between the addresses of two hosts. `data`: the header and the frame."""

    src: Ip
    dst: Ip
    data: bytes

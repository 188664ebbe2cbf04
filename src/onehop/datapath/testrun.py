"""BPF_PROG_TEST_RUN: give a loaded program one packet, and see what it makes of it.

The program runs for real: it reads and writes its maps, and its helpers act on the interfaces of the
calling thread's network namespace.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from typing import Annotated

from onehop.datapath.layouts import U8, U32, U64, Layout, array, codec, octets
from onehop.datapath.libbpf import check, lib
from onehop.datapath.object import Program

__all__ = ["Outcome", "SkBuff", "run_program"]

# What a program may add to a packet: headers of any tunnel, with room to spare.
ROOM = 512


class SkBuff(Layout, frozen=True):
    """struct __sk_buff, as programs see a packet's metadata.

    The kernel takes mark, priority, ingress_ifindex, ifindex, cb, tstamp, wire_len, gso_segs, gso_size
    and hwtstamp, and refuses a value in any other field. Not every program may set `ifindex`: it names
    an interface of this namespace.
    """

    len: U32 = 0
    pkt_type: U32 = 0
    mark: U32 = 0
    queue_mapping: U32 = 0
    protocol: U32 = 0
    vlan_present: U32 = 0
    vlan_tci: U32 = 0
    vlan_proto: U32 = 0
    priority: U32 = 0
    ingress_ifindex: U32 = 0
    ifindex: U32 = 0
    tc_index: U32 = 0
    cb: Annotated[tuple[int, ...], array(U32, 5)] = (0, 0, 0, 0, 0)
    hash: U32 = 0
    tc_classid: U32 = 0
    data: U32 = 0
    data_end: U32 = 0
    napi_id: U32 = 0
    family: U32 = 0
    addresses: Annotated[bytes, octets(40)] = bytes(40)
    ports: Annotated[bytes, octets(8)] = bytes(8)
    data_meta: U32 = 0
    flow_keys: U64 = 0
    tstamp: U64 = 0
    wire_len: U32 = 0
    gso_segs: U32 = 0
    sk: U64 = 0
    gso_size: U32 = 0
    tstamp_type: U8 = 0
    reserved: Annotated[bytes, octets(3)] = bytes(3)
    hwtstamp: U64 = 0


class _Options(ctypes.Structure):
    """struct bpf_test_run_opts"""

    _fields_ = (
        ("sz", c_size_t), ("data_in", c_void_p), ("data_out", c_void_p), ("data_size_in", c_uint32),
        ("data_size_out", c_uint32), ("ctx_in", c_void_p), ("ctx_out", c_void_p), ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32), ("retval", c_uint32), ("repeat", c_int), ("duration", c_uint32),
        ("flags", c_uint32), ("cpu", c_uint32), ("batch_size", c_uint32),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run: the verdict, the packet and its metadata afterwards, nanoseconds per run."""

    verdict: int
    data: bytes
    skb: SkBuff
    ns: int


def run_program(program: Program, data: bytes, skb: SkBuff | None = None, *, repeat: int = 1) -> Outcome:
    """Run a program on a packet (14 bytes at least). Repeated runs go on with the same, changed packet."""
    layout = codec(SkBuff)
    given = ctypes.create_string_buffer(data, len(data))
    result = ctypes.create_string_buffer(len(data) + ROOM)
    context = ctypes.create_string_buffer(layout.encode(skb or SkBuff()), layout.size)
    changed = ctypes.create_string_buffer(layout.size)
    options = _Options(
        sz=ctypes.sizeof(_Options),
        data_in=ctypes.addressof(given),
        data_out=ctypes.addressof(result),
        data_size_in=len(data),
        data_size_out=len(result),
        ctx_in=ctypes.addressof(context),
        ctx_out=ctypes.addressof(changed),
        ctx_size_in=layout.size,
        ctx_size_out=layout.size,
        repeat=repeat,
    )
    check(lib.test_run(program.fd, ctypes.byref(options)), f"run {program.name} on {len(data)} bytes")
    return Outcome(
        verdict=ctypes.c_int32(options.retval).value,
        data=result.raw[: options.data_size_out],
        skb=layout.decode(changed.raw),
        ns=options.duration,
    )

"""What `programs/sampler.bpf.c` shares with its tests."""

from __future__ import annotations

from typing import ClassVar

from onehop.datapath.layouts import BE16, IP6, U8, U16, U32, U64, Layout, pad


class SampleKey(Layout, frozen=True):
    port: U32
    service: BE16
    _1: ClassVar = pad(2)


class SampleValue(Layout, frozen=True):
    packets: U64
    state: U8
    _1: ClassVar = pad(7)


class SamplePrefix(Layout, frozen=True):
    length: U32
    address: IP6


class SampleEvent(Layout, frozen=True):
    mark: U32
    length: U16
    gso_size: U16
    ifindex: U32


LAYOUTS = (SampleKey, SampleValue, SamplePrefix, SampleEvent)

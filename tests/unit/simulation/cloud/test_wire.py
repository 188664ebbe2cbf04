"""The header between hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.model.kinds import MAX_KEY
from onehop.model.vocabulary import TunnelFlag
from onehop.simulation.cloud import Header

keys = st.integers(0, MAX_KEY)


@given(keys, keys, st.integers(0, 31))
def test_a_header_comes_back_as_it_was(target: int, source: int, flags: int) -> None:
    header = Header(target, source, TunnelFlag(flags))
    assert Header.unpack(header.pack()) == header


def test_the_vni_is_where_rfc_7348_has_it() -> None:
    packed = Header(target=0x123456, source=0xABCDEF, flags=TunnelFlag.LEARN).pack()
    assert packed == bytes.fromhex("08 abcdef 123456 01")


@pytest.mark.parametrize(
    "data",
    [b"", bytes(7), bytes.fromhex("00abcdef12345601"), bytes.fromhex("08abcdef12345620")],
    ids=["empty", "short", "no VNI", "unknown flag"],
)
def test_what_is_no_header_of_ours_is_not_read(data: bytes) -> None:
    assert Header.unpack(data) is None

"""What the running kernel is said to offer."""

from __future__ import annotations

import os

import pytest

from onehop.datapath.features import probe, too_old


def test_this_kernel_lacks_nothing() -> None:
    found = probe()
    assert found.missing == ()
    assert found.release == os.uname().release


@pytest.mark.parametrize(
    ("release", "old"),
    [("5.15.0-91-generic", True), ("6.0.19", True), ("6.1.0-18-amd64", False), ("6.18", False)],
)
def test_a_kernel_before_debian_12s_is_too_old(release: str, old: bool) -> None:
    assert too_old(release) is old

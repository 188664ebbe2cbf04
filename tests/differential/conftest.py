"""The programs and tables that all differential tests share, loaded once. They need root."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kernel.cloud import Kernel


@pytest.fixture(scope="session")
def kernel() -> Iterator[Kernel]:
    found = Kernel()
    try:
        yield found
    finally:
        found.close()

"""One small cloud for all tests of a module. These tests need root."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onehop.lab.lab import Lab
from tests.agent.cloud import a_lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with a_lab("agent") as lab:
        yield lab

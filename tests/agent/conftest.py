"""One small cloud, which each test leaves as it was. These tests need root."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onehop.lab.lab import Lab
from tests.agent.cloud import a_lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with a_lab("agent") as lab:
        yield lab

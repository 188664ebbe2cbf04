"""One lab for all facts that do not hurt each other. These tests need root."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from onehop.lab.lab import Lab
from tests.support.lab_cloud import a_lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with a_lab(f"t{os.getpid()}", hosts=3) as lab:
        yield lab

from __future__ import annotations

import pytest

from tests.support.virtual import Virtual
from tests.unit.simulation.shop import SHOP


@pytest.fixture
def shop() -> Virtual:
    return Virtual(SHOP)

import os

import pytest

from tests.support.kernel.cloud import Kernel
from tests.support.kernel.twin import Twin
from tests.support.scenario import cases
from tests.support.scenario_runner import Runner


@pytest.fixture(scope="session")
def kernel():
    k = Kernel()
    try:
        yield k
    finally:
        k.close()


WANT = os.environ.get("WANT", "nat")


@pytest.mark.parametrize("case", [c for c in cases() if c.id.startswith(WANT)], ids=lambda case: case.id)
def test_it(case, kernel):
    Runner(case, lambda view: Twin(kernel, view)).run()

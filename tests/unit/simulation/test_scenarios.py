"""Every scenario, in every family and placement, through the simulated cloud."""

from __future__ import annotations

import pytest

from tests.support.scenario import Case, cases
from tests.support.scenario_runner import Runner
from tests.support.simulated import Simulated

CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_happens_is_what_the_scenario_says(case: Case) -> None:
    Runner(case, Simulated).run()

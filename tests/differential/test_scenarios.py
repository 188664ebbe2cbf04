"""Every scenario, in every family and placement, through the simulation and through the eBPF programs.

Both do what the scenario says, and to each packet the same.
"""

from __future__ import annotations

import pytest

from tests.support.kernel.cloud import Kernel
from tests.support.kernel.twin import Twin
from tests.support.scenario import Case, cases
from tests.support.scenario_runner import Runner


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.id)
def test_the_programs_do_what_the_simulation_does(case: Case, kernel: Kernel) -> None:
    Runner(case, lambda view: Twin(kernel, view)).run()

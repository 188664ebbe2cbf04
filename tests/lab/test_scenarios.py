"""The scenarios in which machines talk, with real machines: real stacks, real sockets, agents, an underlay.

Every scenario is in a project of its own, in the one lab, and most of them use the same addresses.
"""

from __future__ import annotations

import pytest

from onehop.lab.lab import Lab
from tests.support.lab_runner import LabRunner, suits
from tests.support.scenario import Case, real_cases

CASES = [case for case in real_cases() if suits(case)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_scenario(case: Case, lab: Lab) -> None:
    LabRunner(case, lab).run()

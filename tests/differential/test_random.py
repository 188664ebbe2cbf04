"""Clouds by chance, and packets by chance, through the simulation and through the eBPF programs.

`DIFFERENTIAL_PACKETS` says how many packets at least, `DIFFERENTIAL_SEED` which: always the same, but for
`make differential N=1000000`, which begins somewhere. A difference is printed as a scenario, made as small
as can be, to be saved as a file.
"""

from __future__ import annotations

import os

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from onehop.model.view import View
from tests.support import random_clouds, random_outside
from tests.support.kernel.cloud import Kernel
from tests.support.kernel.twin import Twin
from tests.support.random_clouds import Raw
from tests.support.scenario import case_of
from tests.support.scenario_runner import Runner

PACKETS = int(os.environ.get("DIFFERENTIAL_PACKETS", "10000"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "7"))
EXAMPLES = 50  # at a time
CLOUDS = st.one_of(*[random_clouds.scenarios()] * 3, random_outside.scenarios())


def test_whatever_happens_the_programs_do_what_the_simulation_does(kernel: Kernel) -> None:
    print(f"DIFFERENTIAL_SEED={SEED}")
    sent, round = 0, 0

    def run(raw: Raw) -> None:
        nonlocal sent
        twins: list[Twin] = []

        def start(view: View) -> Twin:
            twins.append(Twin(kernel, view))
            return twins[0]

        try:
            Runner(case_of("by-chance", raw), start).run()
            sent += twins[0].packets
        except Exception:
            print(yaml.safe_dump(raw, sort_keys=False, width=110))
            raise

    while sent < PACKETS:
        checked = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            report_multiple_bugs=False,
        )
        seed(SEED + round)(checked(given(CLOUDS)(run)))()
        round += 1
    assert sent >= PACKETS

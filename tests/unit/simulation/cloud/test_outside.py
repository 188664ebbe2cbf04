"""Clouds with an outside, and translation by chance: the flow cache changes nothing of what happens."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings

from onehop.model import Port
from onehop.model.view import View
from tests.support.network import Life
from tests.support.random_clouds import Raw
from tests.support.random_outside import scenarios
from tests.support.scenario import case_of
from tests.support.scenario_runner import Runner
from tests.support.simulated import Simulated


class Both(Simulated):
    """A cloud with a flow cache, and beside it the same without."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.plain = Simulated(view, use_flows=False)

    def send(self, port: Port, frame: bytes) -> Life:
        return self._same(super().send(port, frame), self.plain.send(port, frame))

    def wait(self, seconds: float) -> Life:
        return self._same(super().wait(seconds), self.plain.wait(seconds))

    def settle(self) -> Life:
        return self._same(super().settle(), self.plain.settle())

    def _same(self, one: Life, other: Life) -> Life:
        for found, wanted in (
            (Counter(one.delivered), Counter(other.delivered)),
            (Counter(d.reason for d in one.dropped), Counter(d.reason for d in other.dropped)),
        ):
            assert found == wanted
        return one

    def change(self, view: View) -> None:
        super().change(view)
        self.plain.change(view)

    def forget(self, hints: bool, flows: bool) -> None:
        super().forget(hints, flows)
        self.plain.forget(hints, flows)


@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_cached_flows_do_what_judging_would(raw: Raw) -> None:
    Runner(case_of("by-chance", raw), Both).run()


def test_what_a_machine_sent_before_the_outside_opened_is_a_reply_from_then_on() -> None:
    floating = {"floating_ips": {"fa": {"subnet": "public/main", "ip": "10.4.0.77", "port": "web/a"}}}
    said = [
        {"throw": f"icmp a > x echo-reply id {id}", "at": "a", "turns": 1, "with": "answers"}
        for id in range(8)  # of some, the uplink that a walk takes is not the one that replies take
    ]
    raw = {"about": "Replies before the question.", "base": "floating", "topology": floating}
    Runner(case_of("early-reply", {**raw, "steps": said + said}), Both).run()

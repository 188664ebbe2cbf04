"""The simulated cloud as a network that scenarios run on."""

from __future__ import annotations

from onehop.model import Acl, Port, Route, SecurityGroup, SecurityGroupRule
from onehop.model.view import View
from onehop.model.vocabulary import TunnelFlag
from onehop.simulation import cloud
from onehop.simulation.verdict import Step
from tests.support.network import Delivered, Dropped, Life
from tests.support.world import World


class Simulated:
    """A `Network` in one process."""

    def __init__(self, view: View, *, use_flows: bool = True) -> None:
        self.cloud = cloud.Cloud(view, use_flows=use_flows)

    @property
    def view(self) -> View:
        return self.cloud.view

    def send(self, port: Port, frame: bytes) -> Life:
        life = self.cloud.send(port.id, frame)
        return self.told(life, life)

    def told(self, judged: cloud.Life, life: cloud.Life) -> Life:
        """What became of a frame; why, is what the simulation says."""
        by = {name for verdict in judged.verdicts for step in verdict.steps for name in self._names(step)}
        return Life(
            tuple(Delivered(d.port, d.frame) for d in life.delivered),
            tuple(Dropped(d.reason, by, d.refused) for d in life.dropped),
            life.crossings,
            life.asked,
            sum(bool(sent.flags & TunnelFlag.RETURN) for sent in life.sent),
            sum(bool(sent.flags & TunnelFlag.FLOOD) for sent in life.sent),
            sum(sent.forwarded for sent in life.sent),
            by,
        )

    def _names(self, step: Step) -> list[str]:
        """What decided a step, as people write it: `guard/no-telnet`."""
        device = self.view.find(step.device)
        rule = self.view.find(step.rule or "")
        if isinstance(rule, SecurityGroupRule):
            group = self.view.get(SecurityGroup, rule.security_group)
            return [f"{group.name if group else ''}/{rule.name}"]
        if isinstance(rule, Route):
            return [f"{device.name if device else ''}/{rule.name}"]
        if isinstance(device, Acl) and step.rule:
            return [f"{device.name}/{step.rule}"]
        return [World(self.view, "v4").name(device)] if isinstance(device, Port) else []

    def change(self, view: View) -> None:
        self.cloud.change(view)

    def interface(self, port: Port, up: bool) -> None:
        self.cloud.interface(port.id, up)

    def forget(self, hints: bool, flows: bool) -> None:
        self.cloud.forget(hints=hints, flows=flows)

    def wait(self, seconds: float) -> Life:
        life = self.cloud.wait(seconds)
        return self.told(life, life)

    def settle(self) -> Life:
        life = self.cloud.settle()
        return self.told(life, life)

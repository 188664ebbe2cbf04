"""What an agent says of a port that is bound to its host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onehop.agent.ports import Presence, report
from onehop.feed.messages import PortReport
from onehop.linux.monitor import Link
from onehop.model import Binding, Network, Port
from onehop.model.view import Topology

HOST, OTHER = "h1", "h2"
TAP = Link(7, "tap0", "tun", up=True, peer_elsewhere=False)
HERE = Presence({"tap0": TAP}, {}, {}, {"b1": 5})


def cloud(**port: object) -> Topology:
    return Topology(
        [
            Network(id="n1", name="web", project="p", key=1),
            Port(id="p1", name="web-1", project="p", network="n1", mac="02:00:00:00:00:01", key=2, **port),  # type: ignore[arg-type]
            Binding(id="b1", name="b1", port="p1", host=HOST, interface="tap0"),
        ]
    )


def test_a_port_whose_interface_is_there_is_active_as_of_its_binding() -> None:
    assert report(cloud(), HOST, "p1", HERE) == PortReport("p1", "active", "", 5)


def test_a_warning_is_told_of_a_port_that_works() -> None:
    here = replace(HERE, warnings={"p1": {"b": "short of something", "a": "full of another"}})
    said = PortReport("p1", "active", "full of another; short of something", 5)
    assert report(cloud(), HOST, "p1", here) == said


def test_a_port_that_is_bound_elsewhere_is_gone() -> None:
    assert report(cloud(), OTHER, "p1", HERE).state == "gone"


@pytest.mark.parametrize(
    ("here", "state", "reason"),
    [
        (replace(HERE, links={}), "down", "interface tap0 is not there"),
        (replace(HERE, links={"tap0": replace(TAP, up=False)}), "down", "interface tap0 is switched off"),
        (replace(HERE, failures={7: "no room"}), "error", "no room"),
        (
            replace(HERE, underlays={7}),
            "error",
            "interface tap0 leads to the other hosts; a port needs another",
        ),
        (
            replace(HERE, problems={"p1": ("unsupported: this", "and that")}),
            "error",
            "unsupported: this; and that",
        ),
    ],
)
def test_what_keeps_a_port_from_forwarding_is_told(here: Presence, state: str, reason: str) -> None:
    said = report(cloud(), HOST, "p1", here)
    assert (said.state, said.reason) == (state, reason)


def test_a_port_that_is_switched_off_is_down() -> None:
    assert report(cloud(admin_up=False), HOST, "p1", HERE).reason == "the port is switched off"


def test_a_port_on_standby_is_down() -> None:
    topology = cloud()
    topology.put(Binding(id="b1", name="b1", port="p1", host=HOST, interface="tap0", state="standby"))
    assert report(topology, HOST, "p1", HERE).reason == "the binding is on standby"


def test_a_port_on_a_trunk_is_where_the_trunk_is() -> None:
    topology = cloud()
    topology.put(Port(id="p2", name="web-2", project="p", network="n1", mac="02:00:00:00:00:02", key=3))
    topology.put(Binding(id="b2", name="b2", port="p2", host=HOST, trunk="p1", vlan=9))
    assert report(topology, HOST, "p2", HERE).state == "active"
    topology.remove("b1")
    assert report(topology, HOST, "p2", HERE).state == "error"

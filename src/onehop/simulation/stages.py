"""The order of stages, and how a packet goes through them from device to device.

    a port ─ ADMISSION ─► device ─ LEAVING ─► a machine's port
                             ▲         │
                             └─ LINK ──┘  at most 16 devices

While a gateway only *chooses* whom a packet from an uplink is for, nothing is judged: see `uplinks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onehop.model import Network
from onehop.simulation import (
    acls,
    egress_port,
    fragments,
    ingress_port,
    nat,
    neighbours,
    router,
    security_groups,
    switch,
)
from onehop.simulation.context import Walk

Stages = Sequence[Callable[[Walk], None]]

CHECKS: Stages = (
    ingress_port.is_up,
    ingress_port.makes_sense,
    ingress_port.is_honest,
    fragments.follow,
    ingress_port.wants_service,
    ingress_port.fits,
)
ADMISSION: Stages = (
    security_groups.from_machine,
    acls.into_port,
)
SWITCH: Stages = (
    acls.into_device,
    switch.learn,
    neighbours.answer,
    switch.choose,
    acls.out_of_device,
)
ROUTER: Stages = (
    router.is_up,
    neighbours.ends_here,
    router.is_for_me,
    # load balancing
    nat.destination,
    acls.into_device,
    router.own_address,
    router.choose_way,
    router.lower_ttl,
    acls.forward,
    nat.source,
    router.fits,
    neighbours.resolve,
    acls.out_of_device,
)
LEAVING: Stages = (
    egress_port.is_up,
    security_groups.to_machine,
    acls.out_of_port,
)
LINK: Stages = (
    ingress_port.is_up,
    acls.into_port,
)
COPY: Stages = (
    acls.out_of_device,
    *LEAVING,
)


@dataclass(frozen=True)
class Way:
    """The stages of each device, and of what lies between two."""

    switch: Stages
    router: Stages
    leaving: Stages
    link: Stages


JUDGED = Way(SWITCH, ROUTER, LEAVING, LINK)
CHOSEN = Way(
    switch=(neighbours.answer, switch.choose),
    router=(
        router.is_up,
        neighbours.ends_here,
        router.is_for_me,
        nat.destination,
        router.own_address,
        router.choose_way,
        nat.source,
        neighbours.resolve,
    ),
    leaving=(egress_port.is_up,),
    link=(ingress_port.is_up,),
)


def through(stages: Stages, walk: Walk) -> None:
    for stage in stages:
        stage(walk)


def forward(walk: Walk) -> None:
    """From the port that the packet has entered by to the port that it leaves by."""
    through(ADMISSION, walk)
    cross(walk)


def cross(walk: Walk, way: Way = JUDGED) -> None:
    while True:
        through(way.switch if isinstance(walk.device, Network) else way.router, walk)
        through(way.leaving, walk)
        if not egress_port.crosses_link(walk):
            break
        through(way.link, walk)
    egress_port.deliver(walk)

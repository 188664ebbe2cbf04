"""What a virtual network is: frozen, typed objects, their references and their rules. No I/O.

Read in this order: `kinds` (what every object has), `switching`, `routing`, `firewall`, `nat`, `hosts`,
`identity` (the kinds themselves), `fields` and `formats` (what is declared of each field), `view` (a set of
objects with its indexes), `relations` (rules that span objects), `zones` and `translation` (questions that
several layers ask of a view).
"""

from onehop.model.errors import Invalid, Problem
from onehop.model.firewall import (
    Acl,
    AclRule,
    AddressGroup,
    AddressGroupEntry,
    Match,
    SecurityGroup,
    SecurityGroupRule,
)
from onehop.model.hosts import Host, HostAddress, Underlay
from onehop.model.identity import Project, Role, Token
from onehop.model.kinds import KINDS, Kind, Object, Scope, kind_by_plural, kind_of
from onehop.model.nat import FloatingIp, NatRule, SnatBlock
from onehop.model.routing import Link, NextHop, Route, Router
from onehop.model.switching import (
    AddressPair,
    Binding,
    Grant,
    HostRoute,
    Network,
    Pool,
    Port,
    PortAddress,
    Subnet,
)

__all__ = [
    "KINDS",
    "Acl",
    "AclRule",
    "AddressGroup",
    "AddressGroupEntry",
    "AddressPair",
    "Binding",
    "FloatingIp",
    "Grant",
    "Host",
    "HostAddress",
    "HostRoute",
    "Invalid",
    "Kind",
    "Link",
    "Match",
    "NatRule",
    "Network",
    "NextHop",
    "Object",
    "Pool",
    "Port",
    "PortAddress",
    "Problem",
    "Project",
    "Role",
    "Route",
    "Router",
    "Scope",
    "SecurityGroup",
    "SecurityGroupRule",
    "SnatBlock",
    "Subnet",
    "Token",
    "Underlay",
    "kind_by_plural",
    "kind_of",
]

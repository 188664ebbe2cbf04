"""The words that simulation, compiler, eBPF programs, traces and counters share.

The numbers are part of the datapath's interface: counters and pinned maps hold them. Add at the end;
never renumber.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Stage(IntEnum):
    """Where in its walk a packet is. A file of `simulation/`, of `compiler/` and of `datapath/bpf/` each."""

    INGRESS_PORT = 1
    SWITCH = 2
    ROUTER = 3
    EGRESS_PORT = 4
    SECURITY_GROUPS = 5
    ACLS = 6
    NEIGHBOURS = 7
    CONNECTIONS = 8
    LOAD_BALANCING = 9
    NAT = 10
    ICMP_ERRORS = 11
    FRAGMENTS = 12
    FLOOD = 13
    UNDERLAY = 14


class Drop(IntEnum):
    """Why a packet was dropped. Every drop has exactly one of these reasons."""

    MALFORMED = 1  # truncated, or lengths that contradict each other
    BAD_CHECKSUM = 2  # of an IPv4 header
    PORT_DOWN = 3  # the port is switched off
    SPOOFED_MAC = 4  # a source MAC that the port may not use
    SPOOFED_IP = 5  # a source address that the port may not use
    SPOOFED_ARP = 6  # an ARP or neighbour message that claims someone else's address
    DHCP_SERVER = 7  # a machine that answers DHCP or advertises routes
    BAD_ADDRESS = 8  # a source or destination address that cannot be on a packet here
    SECURITY_GROUP = 9  # no rule allows it
    ACL_DROP = 10
    ACL_REJECT = 11
    UNKNOWN_MAC = 12  # nobody on the network has the destination MAC
    OWN_PORT = 13  # the destination is the port that it came from
    NOT_FOR_ROUTER = 14  # a frame that is not for the router's MAC
    ROUTER_DOWN = 15
    NO_ROUTE = 16
    BLACKHOLE = 17
    REJECT_ROUTE = 18
    TTL_EXPIRED = 19
    TOO_BIG = 20  # larger than the next MTU, and may not be fragmented
    NO_NEIGHBOUR = 21  # the next hop does not answer
    NO_SUCH_SERVICE = 22  # for an address of the router, which serves nothing there
    TOO_MANY_DEVICES = 23  # a loop, or a longer way than is allowed
    NOT_IP = 24  # a router forwards IP only
    FRAGMENT_FIRST_MISSING = 25  # a later fragment whose first has not been seen
    FRAGMENT_OVERLAP = 26
    NO_BINDING = 27  # the destination port is on no host
    NOT_FOLLOWED = 28  # beyond what this host follows, and no controller to ask
    UNKNOWN_PEER = 29  # a tunnel packet from an address that is no host's
    FORGED_SOURCE = 30  # a tunnel packet whose source port is not on that host
    FENCED = 31  # from a fenced host
    UNKNOWN_KEY = 32  # a tunnel packet for a port or network that is not here
    UNSOLICITED = 33  # a RETURN or ASK for which there is no record
    TUPLE_CLASH = 34  # no free tuple at the far port
    TABLE_FULL = 35  # the port has as many connections as it may
    BUDGET = 36  # the port has used up its share of slow path, asks or copies
    CONNECTION_ENDED = 37  # its binding or member is no longer valid
    INVALID_STATE = 38  # a TCP packet that cannot belong where it claims to
    UNSUPPORTED = 39  # an option or header that Onehop does not carry
    INTERNAL = 40  # a limit of ours that should not have been reached
    NAT_EXHAUSTED = 41  # no free port of the shared address is left to this machine


class TunnelFlag(IntFlag):
    """The reserved byte 7 of the VXLAN header."""

    LEARN = 1  # note a hint: replies of this tuple go to the source port
    RETURN = 2  # a reply, sent as it is to the opener's port
    ASK = 4  # refused here, but it may be a reply: see whether you have its record
    FLOOD = 8  # the VNI is a network's key
    FORWARDED = 16  # by the host that the target port has left; not to be forwarded again


MAX_DEVICES = 16

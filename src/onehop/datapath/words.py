"""The enumerations in the structs that the eBPF programs and Python share, besides the model's vocabulary."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Kind(IntEnum):
    """BPF_MAP_TYPE_*, those in use."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    RINGBUF = 27


# --- ports, networks, routers, hosts ----------------------------------------------------------------------


class PortKind(IntEnum):
    VM = 1
    ROUTER = 2
    VIP = 3
    SERVICE = 4


class PortFlag(IntFlag):
    UP = 1  # admin state
    ON_ROUTER = 2  # `device` is a router's id
    SECURITY = 4  # a machine's port with port security: source addresses are checked, security rules apply
    REDIRECT_PEER = 8  # the interface is a veth whose peer is in another namespace: `redirect_peer` works
    UPLINK = 16  # a router's port with a binding and without a link
    NAT = 32  # what leaves by it may get another source: see `nat_sources`


class NatDestinationFlag(IntFlag):
    STATIC = 1  # the address becomes `to`, with the bits behind `bits` kept
    ADDRESS = 2  # with STATIC: of the destination only (whole-address dnat), so replies need the record
    FORWARDS = 4  # some of its ports have entries in `nat_forwards`
    BLOCKS = 8  # shared: `nat_blocks` says by whom


class NatAction(IntEnum):
    STATIC = 1
    DYNAMIC = 2


class NetworkFlag(IntFlag):
    FLOOD_UNKNOWN = 1  # frames for unknown MACs go to all members
    LEARNING = 2
    DHCP4 = 4  # a subnet of it has this service
    DHCP6 = 8
    ADVERTISES6 = 16  # router solicitations are answered


class RouterFlag(IntFlag):
    UP = 1
    NAT = 2  # it has external addresses: see `nat_destinations`


class SourceFlag(IntFlag):
    ADDRESS = 1  # the address goes with the MAC
    PAIRED = 2  # an allowed pair names the MAC: it is learned where it shows up


class NeighbourFlag(IntFlag):
    ROUTER = 1  # answers as a router
    SUBNET = 2  # no machine's: the address means the whole subnet
    DOWN = 4  # switched off: known to routers, but nobody answers for it


class HostFlag(IntFlag):
    FENCED = 1  # what it sends is dropped


# --- routes and rules -------------------------------------------------------------------------------------


class RouteAction(IntEnum):
    FORWARD = 1
    BLACKHOLE = 2
    REJECT = 3


class RouteFlag(IntFlag):
    CONNECTED = 1  # the subnet of an interface


class RuleAction(IntEnum):
    NONE = 0
    ALLOW = 1
    DROP = 2
    REJECT = 3
    RETURN = 4
    JUMP = 5


class RuleFlag(IntFlag):
    STATEFUL = 1  # on a JUMP in the list of a place: the ACL is stateful, and so are those it jumps to
    LOG = 2


class MatchField(IntFlag):
    """The fields of `onehop.model.Match`, and the IP version."""

    VERSION = 1
    PROTOCOL = 2
    SRC_PORTS = 4
    DST_PORTS = 8
    ICMP_TYPE = 16
    ICMP_CODE = 32
    SRC = 64
    DST = 128
    SRC_GROUP = 256
    DST_GROUP = 512
    IN_PORT = 1024
    OUT_PORT = 2048
    SRC_MAC = 4096
    DST_MAC = 8192
    ETHERTYPE = 16384
    VLAN = 32768
    DSCP = 65536
    FRAGMENT = 131072
    STATE = 262144


class Fragment(IntEnum):
    NONE = 0
    ANY = 1
    FIRST = 2
    LATER = 3


class ConnectionState(IntEnum):
    NEW = 0
    ESTABLISHED = 1
    RELATED = 2
    UNTRACKED = 3


# --- connections and flows --------------------------------------------------------------------------------


class Life(IntEnum):
    """How far a connection is."""

    OPENING = 1
    OPEN = 2
    CLOSING = 3


class RecordFlag(IntFlag):
    VERSION6 = 1  # the tuple is of IPv6
    JUDGED = 2  # the reply passes, as of the epochs in `crossed`
    TRANSLATED = 4  # home is not away: `home` says it, and `translated` leads here from it
    INBOUND = 8  # opened from an uplink: the owner is the port that it reaches


class FlowKind(IntEnum):
    """What a cached flow is to connections, and so what has to be touched now and then."""

    FREE = 1  # of no record
    OWN = 2  # what the owner sends: its record has the flow's own tuple, translated
    REPLY = 3  # what comes to the owner: the record has the tuple reversed
    HINTED = 4  # what the far port sends back: there is a hint


class FlowFlag(IntFlag):
    LOCAL = 1  # delivered on this host
    REDIRECT_PEER = 2
    REWRITE = 4  # new MACs, TTL goes down
    HINT = 8  # from the tunnel with LEARN: the target port keeps a hint
    CLOSING = 16  # its record is closing: a SYN starts afresh
    TRANSLATE = 32  # with REWRITE: new addresses and ports, too


# --- what programs tell -----------------------------------------------------------------------------------


class Budget(IntEnum):
    """What a port may use only so much of in a second."""

    ICMP_ERROR = 1
    ASK = 2
    FLOOD = 3
    SLOW_PATH = 4


class EventKind(IntEnum):
    """Why something goes up to the agent."""

    RESOLVE = 1  # find out who has `address` on `segment`; the packet waits for it
    DHCP = 2
    ROUTER_SOLICITATION = 3
    LEARNED_MAC = 4  # `mac` was seen behind `port` on the network `segment`
    LEARNED_NEIGHBOUR = 5  # somebody on `segment` said that `address` is at `mac`
    NOT_FOLLOWED = 6  # a packet needs the port `segment`, which is in no table; `action` 1: only as an end
    LOG = 7  # the rule `id` matched, and did `action`
    TABLE_FULL = 8  # `port` may open no more connections
    SERVICE = 9  # for an address of a router, and left to the agent
    NAT_LOW = 10  # `port` will soon have no port left of those that it shares by the rule `id`
    STRANGER = 11  # from `address`, a packet of a port `segment` for `id` here; `action`: how it came


class Injection(IntEnum):
    """What a frame is that the agent sends out of the injection device: the upper 8 bits of its mark."""

    FROM_PORT = 0xB7
    FROM_TUNNEL = 0xB8


class Action(IntEnum):
    """What became of a packet."""

    NONE = 0
    DROPPED = 1
    DELIVERED = 2  # to a port of this host
    SENT = 3  # through the tunnel
    ANSWERED = 4  # turned round, or an ICMP error sent back
    FLOODED = 5
    SLOW_PATH = 6
    PASSED = 7  # not ours: on to the host's own stack


class Copy(IntEnum):
    """What became of one copy of a flooded frame."""

    NONE = 0
    DELIVERED = 1  # to a port of this host
    SENT = 2  # to a host
    DROPPED = 3

"""A virtual cloud in pure Python: many hosts, each with its own state, and the underlay between them.

`walk` says what one host does with a packet. This says how hosts play together: who owns a connection, how
replies go back, whom a host believes, when flows are judged anew, what moves with a port.

    wire      the header between hosts
    places    where ports and hosts are
    zones     epochs: which flows a change makes old
    flows     the flow cache
    lives     what is idle is forgotten
    waiting   packets whose next hop is being asked for
    budgets   how much of what costs others a port may use
    events    what a host does with a packet
    host      one host
    cloud     all of them
"""

from onehop.simulation.cloud.cloud import Cloud, Life
from onehop.simulation.cloud.events import Delivered, Dropped, Event, Judged, Left, Logged, Sent
from onehop.simulation.cloud.host import FORWARDING, Host
from onehop.simulation.cloud.wire import Envelope, Header

__all__ = [
    "FORWARDING",
    "Cloud",
    "Delivered",
    "Dropped",
    "Envelope",
    "Event",
    "Header",
    "Host",
    "Judged",
    "Left",
    "Life",
    "Logged",
    "Sent",
]

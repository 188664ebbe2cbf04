"""Two hosts, four machines, real sockets: what the programs do to traffic that the kernel makes.

The tables are filled by hand (see `world`); machines a and b are on one host, c and d on the other.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from onehop.datapath import programs
from onehop.datapath.attach import Attachment, Direction, attach
from onehop.datapath.structs import FdbKey
from onehop.datapath.words import PortFlag, RouterFlag
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace
from tests.bpf.translation import OUTSIDE, share, stand_for
from tests.bpf.world import (
    DB_EDGE,
    EDGE,
    EDGE_DB,
    NETWORK_OF,
    SIZES,
    UNDERLAY,
    WEB,
    WEB_EDGE,
    A,
    B,
    C,
    D,
    Underlay,
    World,
    ip,
    mac,
    v4,
    v6,
)

HOSTS = {1: (A, B), 2: (C, D)}
UNDERLAYS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("fd99::1", "fd99::2")}
ADDRESSES = {1: ("192.0.2.1/24", "fd99::1/64"), 2: ("192.0.2.2/24", "fd99::2/64")}
BOTH = pytest.mark.parametrize("version", [4, 6])
WAYS = pytest.mark.parametrize("to", [B, C], ids=["same host", "across hosts"])
_ports = itertools.count(5000)


@dataclass
class Lab:
    machines: dict[int, Namespace]
    worlds: dict[int, World]
    attached: list[Attachment]  # each lasts as long as somebody holds it

    def socket(self, at: int, version: int, kind: socket.SocketKind) -> socket.socket:
        with self.machines[at].entered():
            made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind)
        made.settimeout(10)
        return made


def plug_in(machine: Namespace, links: Links, key: int) -> int:
    """A machine's interface with its addresses and gateways; the host's end, by index."""
    links.veth(f"p{key}", machine, "eth0", mtu=1450, peer_mac=mac(key))
    gateway = WEB_EDGE if NETWORK_OF[key] == WEB else DB_EDGE
    with Links(machine) as inside:
        inside.address("eth0", f"{v4(key)}/24")
        inside.address("eth0", f"{v6(key)}/64")
        inside.route("0.0.0.0/0", via=v4(gateway))
        inside.route("::/0", via=v6(gateway))
    return links.index(f"p{key}")


def start(here: Namespace, links: Links, interfaces: dict[int, int], underlay: Underlay) -> World:
    """The programs of one host."""
    links.veth("inject", None, "tcejni")
    with here.entered():
        datapath = programs.load(config={"inject_ifindex": links.index("inject")}, sizes=SIZES)
        world = World(datapath, interfaces, underlay)
        world.build()
    for key in interfaces.keys() - {UNDERLAY}:
        world.change_port(key, flags=PortFlag.UP | PortFlag.SECURITY | PortFlag.REDIRECT_PEER)
    return world


def attach_all(here: Namespace, links: Links, world: World) -> Iterator[Attachment]:
    loaded = world.datapath.programs
    with here.entered():
        for key, ifindex in world.interfaces.items():
            program = loaded["from_underlay" if key == UNDERLAY else "from_port"]
            yield attach(program, ifindex, Direction.INGRESS)
        yield attach(loaded["inject"], links.index("inject"), Direction.EGRESS)


@pytest.fixture(scope="module", params=[4, 6], ids=["underlay4", "underlay6"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    one, other = UNDERLAYS[request.param]
    with contextlib.ExitStack() as stack:
        name = f"t{os.getpid()}-{request.param}"
        hosts = {n: stack.enter_context(Namespace(f"{name}-host{n}").create()) for n in HOSTS}
        machines = {key: stack.enter_context(Namespace(f"{name}-vm{key}").create()) for key in (A, B, C, D)}
        links = {n: stack.enter_context(Links(hosts[n])) for n in HOSTS}
        links[1].veth("u", hosts[2], "u", mtu=1520)
        for n, addresses in ADDRESSES.items():
            for address in addresses:
                links[n].address("u", address)
        worlds = {}
        for n, keys in HOSTS.items():
            interfaces = {key: plug_in(machines[key], links[n], key) for key in keys}
            interfaces[UNDERLAY] = links[n].index("u")
            underlay = Underlay(*((one, other) if n == 1 else (other, one)))
            worlds[n] = start(hosts[n], links[n], interfaces, underlay)
            stack.callback(worlds[n].datapath.close)
        attached = [one for n in HOSTS for one in attach_all(hosts[n], links[n], worlds[n])]
        yield Lab(machines, worlds, attached)
        for one in attached:
            one.close()


def received(listener: socket.socket, into: bytearray) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(10)
        while data := connection.recv(1 << 20):
            into += data


@BOTH
@WAYS
def test_a_stream_arrives_as_it_was_sent(lab: Lab, version: int, to: int) -> None:
    sent, got, port = random.Random(7).randbytes(20_000_000), bytearray(), next(_ports)
    with lab.socket(to, version, socket.SOCK_STREAM) as listener:
        listener.bind((str(ip(to, version)), port))
        listener.listen()
        reader = threading.Thread(target=received, args=(listener, got))
        reader.start()
        with lab.socket(A, version, socket.SOCK_STREAM) as connection:
            connection.connect((str(ip(to, version)), port))
            connection.sendall(sent)
        reader.join(20)
    assert got == sent


@BOTH
@WAYS
@pytest.mark.parametrize("size", [1, 1000, 4000], ids=["small", "large", "in fragments"])
def test_a_question_is_answered(lab: Lab, version: int, to: int, size: int) -> None:
    port = next(_ports)
    with (
        lab.socket(to, version, socket.SOCK_DGRAM) as server,
        lab.socket(A, version, socket.SOCK_DGRAM) as client,
    ):
        server.bind((str(ip(to, version)), port))
        client.sendto(b"?" * size, (str(ip(to, version)), port))
        question, asker = server.recvfrom(8192)
        server.sendto(b"!" * size, asker)
        assert (question, client.recv(8192)) == (b"?" * size, b"!" * size)


@BOTH
@WAYS
def test_a_closed_port_says_so(lab: Lab, version: int, to: int) -> None:
    with lab.socket(A, version, socket.SOCK_STREAM) as connection, pytest.raises(ConnectionRefusedError):
        connection.connect((str(ip(to, version)), next(_ports)))
    with lab.socket(A, version, socket.SOCK_DGRAM) as asker, pytest.raises(ConnectionRefusedError):
        asker.connect((str(ip(to, version)), next(_ports)))
        asker.send(b"?")
        asker.recv(100)


@BOTH
def test_replies_get_through_where_nothing_else_may(lab: Lab, version: int) -> None:
    for n in lab.worlds:
        lab.worlds[n].change_port(A, receives=0)
        lab.worlds[n].bump()
    port = next(_ports)
    with (
        lab.socket(C, version, socket.SOCK_DGRAM) as server,
        lab.socket(A, version, socket.SOCK_DGRAM) as client,
        lab.socket(A, version, socket.SOCK_DGRAM) as hidden,
    ):
        server.bind((str(ip(C, version)), port))
        client.sendto(b"?", (str(ip(C, version)), port))
        _, asker = server.recvfrom(100)
        hidden.bind((str(ip(A, version)), port))
        server.sendto(b"hello", (str(ip(A, version)), port))
        server.sendto(b"!", asker)
        assert client.recv(100) == b"!"
        hidden.settimeout(0.2)
        with pytest.raises(TimeoutError):
            hidden.recv(100)
    for n in lab.worlds:
        lab.worlds[n].change_port(A, receives=1)
        lab.worlds[n].bump()


# --- translated ---------------------------------------------------------------------------------------------


@pytest.fixture
def translated(lab: Lab) -> Iterator[Lab]:
    """Machine a shares an address, and c has a floating one: segments to be cut up, and partial checksums."""
    tables = ("nat_destinations", "nat_sources", "nat_bindings", "nat_blocks", "records", "hints", "flows")
    for world in lab.worlds.values():
        for version in (4, 6):
            share(world, version)
            stand_for(world, version, OUTSIDE[version].floating, ip(C, version), source=False)
    yield lab
    for world in lab.worlds.values():
        for table in (*tables, "translated"):
            world.tables[table].clear()
        world.change("routers", EDGE, flags=RouterFlag.UP)
        world.change_port(EDGE_DB, flags=world.ports[EDGE_DB].flags & ~PortFlag.NAT)
        world.bump()


@BOTH
def test_a_translated_stream_arrives_as_it_was_sent_both_ways(translated: Lab, version: int) -> None:
    sent, got, port = random.Random(7).randbytes(5_000_000), bytearray(), next(_ports)

    def echo(listener: socket.socket) -> None:
        connection, (host, *_) = listener.accept()
        with connection:
            connection.settimeout(10)
            peers.append(host)
            while data := connection.recv(1 << 20):
                connection.sendall(data)

    peers: list[str] = []
    with translated.socket(C, version, socket.SOCK_STREAM) as listener:
        listener.bind((str(ip(C, version)), port))
        listener.listen()
        server = threading.Thread(target=echo, args=(listener,))
        server.start()
        with translated.socket(A, version, socket.SOCK_STREAM) as connection:
            connection.connect((str(OUTSIDE[version].floating), port))
            reader = threading.Thread(target=_read_all, args=(connection, len(sent), got))
            reader.start()
            connection.sendall(sent)
            reader.join(20)
            connection.shutdown(socket.SHUT_WR)
        server.join(20)
    assert (got, peers) == (sent, [str(OUTSIDE[version].shared)])


def _read_all(connection: socket.socket, size: int, into: bytearray) -> None:
    while len(into) < size:
        into += connection.recv(1 << 20)


@BOTH
@pytest.mark.parametrize("size", [1, 1000, 4000], ids=["small", "large", "in fragments"])
def test_a_translated_question_is_answered(translated: Lab, version: int, size: int) -> None:
    port, floating = next(_ports), str(OUTSIDE[version].floating)
    with (
        translated.socket(C, version, socket.SOCK_DGRAM) as server,
        translated.socket(A, version, socket.SOCK_DGRAM) as client,
    ):
        server.bind((str(ip(C, version)), port))
        client.sendto(b"?" * size, (floating, port))
        question, asker = server.recvfrom(8192)
        server.sendto(b"!" * size, asker)
        answer, source = client.recvfrom(8192)
        assert (question, answer) == (b"?" * size, b"!" * size)
        assert (asker[0], source[:2]) == (str(OUTSIDE[version].shared), (floating, port))


@BOTH
def test_a_closed_port_says_so_through_translation(translated: Lab, version: int) -> None:
    floating = str(OUTSIDE[version].floating)
    with (
        translated.socket(A, version, socket.SOCK_STREAM) as connection,
        pytest.raises(ConnectionRefusedError),
    ):
        connection.connect((floating, next(_ports)))
    with translated.socket(A, version, socket.SOCK_DGRAM) as asker, pytest.raises(ConnectionRefusedError):
        asker.connect((floating, next(_ports)))
        asker.send(b"?")
        asker.recv(100)


@pytest.mark.parametrize("ethertype", [0x0806, 0x88B5], ids=["ARP", "other"])
def test_what_is_not_ip_arrives_as_what_it_is(lab: Lab, ethertype: int) -> None:
    lab.worlds[1].tables["fdb"].update(FdbKey(WEB, bytes.fromhex(mac(C).replace(":", ""))), C)
    here, there = (bytes.fromhex(mac(key).replace(":", "")) for key in (A, C))
    arp = bytes.fromhex("0001080006040002") + here + ip(A, 4).packed + there + ip(C, 4).packed
    sent = there + here + ethertype.to_bytes(2) + (arp if ethertype == 0x0806 else bytes(range(20)))
    with lab.machines[C].entered():
        hearer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    with lab.machines[A].entered():
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with hearer, sender:
        hearer.settimeout(10)
        hearer.bind(("eth0", ethertype))
        sender.bind(("eth0", 0))
        sender.send(sent)
        assert hearer.recv(100) == sent

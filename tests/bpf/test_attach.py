"""Programs at interfaces, with packets: both kinds of attachment, their replacement, and taking them over."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from onehop.datapath.attach import Direction, adopt, attach
from onehop.datapath.layouts import U32, U64, per_cpu, scalar
from onehop.datapath.libbpf import BpfError, possible_cpus
from onehop.datapath.maps import Map, open_map
from onehop.datapath.object import Object, load_object
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace

Compiled = Callable[[str], Path]
KINDS = pytest.mark.parametrize("tcx", [True, False], ids=["tcx", "clsact"])

SEND = """
import socket, sys
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind(("eth0", 0))
frame = b"\\x02" + bytes(11) + b"\\x88\\xb5" + bytes(50)
for _ in range(int(sys.argv[1])):
    sender.send(frame)
"""


@dataclass
class Bench:
    """A host with the interface `tap0`, whose peer is the VM's `eth0`. Nothing but tests sends there."""

    host: Namespace
    vm: Namespace
    ifindex: int
    program: Object

    def send(self, frames: int) -> None:
        self.vm.run(sys.executable, "-c", SEND, str(frames))

    def received(self) -> int:
        with Links(self.host) as links:
            return links.statistics("tap0")["rx_packets"]

    def counted(self, expected: int) -> int:
        """What the program has counted, once that is what is expected, or time is up."""
        return settled(self.program.maps["counters"], expected)


def settled(counters: Map[bytes, bytes], expected: int) -> int:
    """A frame that was sent is counted when the receiving side gets to run, which need not be at once."""
    deadline = time.monotonic() + 5
    while total(counters) != expected and time.monotonic() < deadline:
        os.sched_yield()
    return total(counters)


def total(counters: Map[bytes, bytes]) -> int:
    value = counters.lookup(scalar(U32).encode(0))
    assert value is not None
    return sum(per_cpu(scalar(U64), possible_cpus()).decode(value))


@pytest.fixture
def bench(sampler: Object, namespaces: tuple[Namespace, Namespace]) -> Iterator[Bench]:
    host, vm = namespaces
    for one in namespaces:
        one.sysctl("net.ipv6.conf.default.disable_ipv6", 1)  # its router solicitations would be counted
    with Links(host) as links:
        links.veth("tap0", vm, "eth0")
        yield Bench(host, vm, links.index("tap0"), sampler)


@KINDS
def test_a_program_sees_each_packet_until_it_is_detached(bench: Bench, tcx: bool) -> None:
    with bench.host.entered():
        attachment = attach(bench.program.programs["counted"], bench.ifindex, Direction.INGRESS, tcx=tcx)
        assert attachment.ifindex == bench.ifindex
        assert attachment.program_id == bench.program.programs["counted"].id
    bench.send(5)
    assert bench.counted(5) == 5
    with bench.host.entered():
        attachment.detach()
    bench.send(5)
    assert bench.counted(5) == 5


@KINDS
def test_egress_is_the_way_out_of_the_interface(bench: Bench, tcx: bool) -> None:
    with Links(bench.vm) as links, bench.vm.entered():
        index = links.index("eth0")
        attachment = attach(bench.program.programs["counted"], index, Direction.EGRESS, tcx=tcx)
    bench.send(4)
    assert bench.counted(4) == 4
    with bench.vm.entered():
        attachment.detach()


@KINDS
def test_a_program_is_replaced_without_a_packet_passing_unseen(bench: Bench, tcx: bool) -> None:
    programs = [bench.program.programs[name] for name in ("counted", "counted_too")]
    before = bench.received()
    with bench.host.entered():
        attachment = attach(programs[0], bench.ifindex, Direction.INGRESS, tcx=tcx)
    sender = bench.vm.popen([sys.executable, "-c", SEND, "30000"])
    swaps = 0
    with bench.host.entered():
        while sender.poll() is None:
            swaps += 1
            attachment.update(programs[swaps % 2])
        assert attachment.program_id == programs[swaps % 2].id
    assert sender.returncode == 0
    assert swaps > 1
    received = bench.received() - before
    assert received >= 1000
    assert bench.counted(received) == received
    with bench.host.entered():
        attachment.detach()


@KINDS
def test_what_is_attached_outlives_its_process_and_is_taken_over(
    bench: Bench, bpffs: Path, compiled: Compiled, tcx: bool
) -> None:
    pin = bpffs / "tap0"
    with load_object(compiled("sampler")) as first, bench.host.entered():
        first.maps["counters"].pin(bpffs / "counters")
        old = first.programs["counted"].id
        attach(first.programs["counted"], bench.ifindex, Direction.INGRESS, pin=pin, tcx=tcx).close()
    # Every descriptor of the first is closed now, as after its death.
    bench.send(3)
    with open_map(bpffs / "counters") as counters:
        assert settled(counters, 3) == 3
        with load_object(compiled("sampler"), reuse={"counters": counters}) as second, bench.host.entered():
            adopted = adopt(bench.ifindex, Direction.INGRESS, pin=pin)
            assert adopted is not None
            assert adopted.program_id == old
            adopted.update(second.programs["counted_too"])
            assert adopted.program_id == second.programs["counted_too"].id
            bench.send(2)
            assert settled(counters, 5) == 5
            adopted.detach()
        bench.send(2)
        assert settled(counters, 5) == 5
    assert not pin.exists()


def test_a_link_that_is_not_pinned_goes_with_its_descriptor(bench: Bench) -> None:
    with bench.host.entered():
        attach(bench.program.programs["counted"], bench.ifindex, Direction.INGRESS, tcx=True).close()
    bench.send(3)
    assert bench.counted(0) == 0


def test_nothing_is_adopted_from_a_bare_interface(bench: Bench, bpffs: Path) -> None:
    with bench.host.entered():
        assert adopt(bench.ifindex, Direction.INGRESS, pin=bpffs / "tap0") is None


def test_a_link_whose_interface_is_gone_says_so_and_is_not_adopted(bench: Bench, bpffs: Path) -> None:
    with bench.host.entered(), Links(bench.host) as links:
        program = bench.program.programs["counted"]
        link = attach(program, bench.ifindex, Direction.INGRESS, pin=bpffs / "tap0", tcx=True)
        links.delete("tap0")
        assert link.ifindex == 0
        assert adopt(bench.ifindex, Direction.INGRESS, pin=bpffs / "tap0") is None
        link.detach()
    assert not (bpffs / "tap0").exists()


def test_pinning_into_a_missing_folder_leaves_nothing_attached(bench: Bench, bpffs: Path) -> None:
    with bench.host.entered(), pytest.raises(BpfError, match="absent/tap0: No such file") as refused:
        attach(
            bench.program.programs["counted"],
            bench.ifindex,
            Direction.INGRESS,
            pin=bpffs / "absent" / "tap0",
            tcx=True,
        )
    assert refused.value.errno == errno.ENOENT
    bench.send(2)
    assert bench.counted(0) == 0


@KINDS
def test_an_interface_that_does_not_exist_is_an_error(bench: Bench, tcx: bool) -> None:
    with bench.host.entered(), pytest.raises(BpfError, match="interface 9999"):
        attach(bench.program.programs["counted"], 9999, Direction.INGRESS, tcx=tcx)

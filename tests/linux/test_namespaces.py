"""Namespaces and the interfaces in them, with real packets. These tests need root."""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace


def here() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    with Namespace(f"a{os.getpid()}").create() as one, Namespace(f"b{os.getpid()}").create() as other:
        yield one, other


def test_ip_netns_knows_the_name(pair: tuple[Namespace, Namespace]) -> None:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert pair[0].name in listed.split()


def test_a_taken_name_is_refused_and_kept(pair: tuple[Namespace, Namespace]) -> None:
    with pytest.raises(FileExistsError):
        pair[0].create()
    with pair[0].entered():
        pass


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name"):
        Namespace(name).create()


def test_deleting_leaves_no_name_and_may_be_repeated() -> None:
    namespace = Namespace(f"c{os.getpid()}").create()
    namespace.delete()
    assert not namespace.exists
    namespace.delete()


def test_a_name_whose_namespace_is_gone_can_be_deleted() -> None:
    namespace = Namespace(f"d{os.getpid()}")
    namespace.path.touch()
    namespace.delete()
    assert not namespace.exists


def test_the_thread_returns_also_after_an_error(pair: tuple[Namespace, Namespace]) -> None:
    home = here()
    with pytest.raises(RuntimeError), pair[0].entered():
        assert here() != home
        raise RuntimeError
    assert here() == home


def test_only_the_calling_thread_moves(pair: tuple[Namespace, Namespace]) -> None:
    home, seen = here(), list[str]()
    other = threading.Thread(target=lambda: (go.wait(5), seen.append(here())))
    go = threading.Event()
    other.start()
    with pair[0].entered():
        go.set()
        other.join()
    assert seen == [home]


def test_entering_one_inside_another_returns_to_it(pair: tuple[Namespace, Namespace]) -> None:
    with pair[0].entered():
        outer = here()
        with pair[1].entered():
            assert here() != outer
        assert here() == outer


def test_a_failing_command_tells_where_and_why(pair: tuple[Namespace, Namespace]) -> None:
    with pytest.raises(RuntimeError, match=rf"in {pair[0].name}: .*\n.*absent"):
        pair[0].run("ip", "link", "show", "absent")


def test_a_command_sees_the_mounts_of_its_caller(pair: tuple[Namespace, Namespace]) -> None:
    ours = str(Path("/proc/self/ns/mnt").readlink())
    assert pair[0].run("readlink", "/proc/self/ns/mnt").strip() == ours
    done = subprocess.run(
        pair[0].command("readlink", "/proc/self/ns/mnt"), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ours


def test_settings_are_the_namespaces_own(pair: tuple[Namespace, Namespace]) -> None:
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    pair[0].sysctl("net.ipv4.ip_forward", 1)
    assert pair[0].run("cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


@pytest.mark.parametrize(
    ("near", "far", "beyond"),
    [("10.0.0.1", "10.0.0.2", "10.9.0.1"), ("fd00::1", "fd00::2", "fd09::1")],
    ids=["v4", "v6"],
)
def test_packets_cross_a_veth_and_follow_a_route(
    pair: tuple[Namespace, Namespace], near: str, far: str, beyond: str
) -> None:
    one, other = pair
    length, whole = ("64", "128") if ":" in near else ("24", "32")
    with Links(one) as here_, Links(other) as there:
        here_.veth("left", other, "right", mac="02:00:00:00:00:01", peer_mac="02:00:00:00:00:02")
        here_.address("left", f"{near}/{length}")
        there.address("right", f"{far}/{length}")
        there.up("lo")
        there.address("lo", f"{beyond}/{whole}")
        here_.neighbour("left", far, "02:00:00:00:00:02")
        here_.route(f"{beyond}/{whole}", via=far)
        assert (here_.mac("left"), there.mac("right")) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    for address in (far, beyond):
        assert ", 0% packet loss" in one.run("ping", "-c", "1", "-W", "5", address)


def test_frames_go_in_and_out_of_a_tap(pair: tuple[Namespace, Namespace]) -> None:
    pair[0].sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    frame = b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x08\x06" + bytes.fromhex(
        "0001080006040001" "020000000001" "0a000002" "000000000000" "0a000001"
    )  # fmt: skip
    with Links(pair[0]) as links:
        fd = links.tap("tap0")
        try:
            links.address("tap0", "10.0.0.1/24")
            os.write(fd, frame)
            assert select.select([fd], [], [], 5)[0]
            reply = os.read(fd, 2048)
            assert (reply[:6], reply[20:22]) == (b"\2\0\0\0\0\1", b"\0\2")
        finally:
            os.close(fd)
        assert not links.exists("tap0")


def test_deleting_one_end_deletes_the_other(pair: tuple[Namespace, Namespace]) -> None:
    with Links(pair[0]) as links, Links(pair[1]) as there:
        links.veth("left", pair[1], "right")
        there.delete("right")
        assert not links.exists("left")
        links.delete("left")


def test_an_absent_interface_is_named(pair: tuple[Namespace, Namespace]) -> None:
    with Links(pair[0]) as links, pytest.raises(LookupError, match=f"no interface eth7 in {pair[0].name}"):
        links.index("eth7")

"""Whom a host believes: every packet of the underlay passes the same gates, or is dropped by name."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.cloud import Envelope, Header, Life
from onehop.simulation.packet import build
from tests.support.clouds import Clouds

NO_FLAGS = TunnelFlag(0)


@pytest.fixture(scope="module")
def cloud() -> Clouds:
    return Clouds()


def throw(
    cloud: Clouds,
    *,
    src: str,
    to: str = "c",
    source: int | None = None,
    target: int | None = None,
    flags: TunnelFlag = NO_FLAGS,
) -> Life:
    """A packet as the host `src` (or an address) would send it for a machine, with this or that forged."""
    header = Header(
        cloud.port("c").key if target is None else target,
        cloud.port("a").key if source is None else source,
        flags,
    )
    own = ip_address(src) if "." in src else cloud.address(src)
    return cloud.cloud.throw(
        Envelope(own, cloud.address(to), header.pack() + build(cloud.frame("udp a:4000 > c:53")))
    )


def reasons(life: Life) -> list[Drop]:
    assert not life.delivered
    return [dropped.reason for dropped in life.dropped]


def test_what_a_host_sends_for_its_own_port_is_delivered(cloud: Clouds) -> None:
    assert cloud.reached(throw(cloud, src="a")) == ["c"]


def test_an_address_that_is_no_hosts_is_not_believed(cloud: Clouds) -> None:
    assert reasons(throw(cloud, src="203.0.113.9")) == [Drop.UNKNOWN_PEER]


def test_a_host_does_not_believe_its_own_address(cloud: Clouds) -> None:
    assert reasons(throw(cloud, src="c")) == [Drop.UNKNOWN_PEER]


def test_a_port_that_is_bound_to_another_host_is_forged(cloud: Clouds) -> None:
    assert reasons(throw(cloud, src="b")) == [Drop.FORGED_SOURCE]


@pytest.mark.parametrize("key", [0, 999_999])
def test_a_source_key_that_nobody_has_is_forged(cloud: Clouds, key: int) -> None:
    assert reasons(throw(cloud, src="a", source=key)) == [Drop.FORGED_SOURCE]


@pytest.mark.parametrize("key", [0, 999_999])
@pytest.mark.parametrize("flags", [NO_FLAGS, TunnelFlag.RETURN, TunnelFlag.FLOOD])
def test_a_key_that_nobody_has_is_unknown(cloud: Clouds, key: int, flags: TunnelFlag) -> None:
    assert reasons(throw(cloud, src="a", target=key, flags=flags)) == [Drop.UNKNOWN_KEY]


def test_a_port_of_another_host_is_unknown(cloud: Clouds) -> None:
    assert reasons(throw(cloud, src="a", target=cloud.port("d").key)) == [Drop.UNKNOWN_KEY]


def test_a_network_without_members_here_is_unknown(cloud: Clouds) -> None:
    key = cloud.network("web").key
    assert reasons(throw(cloud, src="a", target=key, flags=TunnelFlag.FLOOD)) == [Drop.UNKNOWN_KEY]


def test_a_reply_that_nobody_waits_for_is_unsolicited(cloud: Clouds) -> None:
    for flag in (TunnelFlag.RETURN, TunnelFlag.ASK):
        assert reasons(throw(cloud, src="a", flags=flag)) == [Drop.UNSOLICITED]


def test_a_fenced_host_is_dropped_by_all_and_believed_again_when_released() -> None:
    cloud = Clouds()
    cloud.change({"hosts": {"host-a": {"fenced": True}}})
    assert reasons(cloud.send("udp a:4000 > c:53")) == [Drop.FENCED]
    assert cloud.reached(cloud.send("udp b:4000 > c:53")) == ["c"]
    cloud.change({"hosts": {"host-a": {"fenced": None}}})
    assert cloud.reached(cloud.send("udp a:4000 > c:53")) == ["c"]


@given(st.binary(max_size=80), st.sampled_from(["a", "b", "203.0.113.9"]))
def test_bytes_from_the_underlay_never_raise(cloud: Clouds, data: bytes, src: str) -> None:
    own = ip_address(src) if "." in src else cloud.address(src)
    life = cloud.cloud.throw(Envelope(own, cloud.address("c"), data))
    assert life.delivered or life.dropped


@given(st.binary(max_size=80), st.integers(0, 15), st.sampled_from(["web", "db"]))
def test_inner_bytes_behind_a_good_header_never_raise(
    cloud: Clouds, data: bytes, flags: int, name: str
) -> None:
    flag = TunnelFlag(flags)
    target = cloud.network(name).key if flag & TunnelFlag.FLOOD else cloud.port("c").key
    header = Header(target, cloud.port("a").key, flag)
    cloud.cloud.throw(Envelope(cloud.address("a"), cloud.address("c"), header.pack() + data))


@given(st.binary(max_size=120))
def test_bytes_from_a_machine_never_raise(cloud: Clouds, data: bytes) -> None:
    cloud.cloud.send(cloud.port("a").id, data)

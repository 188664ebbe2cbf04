"""Records on their way to another host: what means something here alone stays behind."""

from __future__ import annotations

import msgspec
import pytest

from onehop.agent.records import KEY_SIZE, ROW, near_tuple, packed, unpacked
from onehop.datapath.layouts import ip6
from onehop.datapath.traffic import MAX_ZONES, Crossing, Ends, Record, TupleKey
from onehop.datapath.words import Life, RecordFlag

PORT, FAR = 7, 9
KEY = TupleKey(PORT, ip6("10.0.0.1"), ip6("10.0.0.2"), 4000, 80, 6)
RECORD = Record(
    far_port=FAR,
    near_dst=b"neardt",
    near_src=b"nearsr",
    far_dst=b"fardst",
    far_src=b"farsrc",
    hops=2,
    tos=8,
    life=Life.OPEN,
    flags=RecordFlag.VERSION6 | RecordFlag.JUDGED,
    mtu=1450,
    zones=3,
    router=5,
    used=900,
    crossed=(Crossing(1, 2),) * MAX_ZONES,
)


def carried(record: Record, sent: int, asked: int) -> Record:
    ((key, came),) = unpacked(packed(KEY, record, sent), PORT, asked)
    assert key == KEY
    return came


def test_zones_judgement_and_routers_numbers_stay_behind() -> None:
    came = carried(RECORD, 1000, 5000)
    assert (came.zones, came.crossed, came.router) == (0, (Crossing(0, 0),) * MAX_ZONES, 0)
    assert came.flags == RecordFlag.VERSION6


def test_all_else_comes_along() -> None:
    home = Ends(ip6("10.9.9.9"), ip6("10.0.0.2"), 1, 80)
    record = msgspec.structs.replace(RECORD, home=home, flags=RecordFlag.TRANSLATED)
    came = carried(record, 1000, 5000)
    local = {"zones": 3, "crossed": record.crossed, "router": 5, "used": 900}
    assert msgspec.structs.replace(came, **local) == record


@pytest.mark.parametrize(("used", "sent", "asked", "then"), [(900, 1000, 5000, 4900), (900, 1000, 50, 1)])
def test_a_record_is_as_old_by_the_other_clock(used: int, sent: int, asked: int, then: int) -> None:
    assert carried(msgspec.structs.replace(RECORD, used=used), sent, asked).used == then


def test_records_of_other_ports_are_not_taken() -> None:
    assert not list(unpacked(packed(KEY, RECORD, 1000), PORT + 1, 5000))


def test_what_is_no_record_is_passed_over() -> None:
    good = packed(KEY, RECORD, 1000)
    life = good.index(bytes([2, 8, Life.OPEN]), KEY_SIZE) + 2
    bad = good[:life] + b"\xee" + good[life + 1 :]
    claims = KEY.encode() + msgspec.structs.replace(RECORD, zones=1).encode()
    assert [key for key, _ in unpacked(bad + claims + good + good[: ROW - 1], PORT, 5000)] == [KEY]


def test_the_near_tuple_is_what_the_owners_machine_sends() -> None:
    home = Ends(ip6("10.9.9.9"), ip6("10.0.0.2"), 1, 80)
    assert near_tuple(KEY, RECORD) == KEY
    translated = msgspec.structs.replace(RECORD, home=home, flags=RecordFlag.TRANSLATED)
    assert near_tuple(KEY, translated) == TupleKey(PORT, home.src, home.dst, 1, 80, 6)

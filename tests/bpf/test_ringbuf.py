"""The ring buffer: what programs report arrives once, in order, and within the bound asked for."""

from __future__ import annotations

import asyncio
import select

import pytest

from onehop.datapath.layouts import codec
from onehop.datapath.object import Object
from onehop.datapath.ringbuf import Ring
from onehop.datapath.testrun import SkBuff, run_program
from tests.bpf.sample import SampleEvent


def report(sampler: Object, *marks: int) -> list[int]:
    return [run_program(sampler.programs["reported"], bytes(64), SkBuff(mark=m)).verdict for m in marks]


def consumed(ring: Ring, limit: int = 256) -> list[int]:
    marks: list[int] = []
    ring.consume(lambda record: marks.append(SampleEvent.decode(record).mark), limit)
    return marks


def test_records_arrive_in_order_and_once(sampler: Object) -> None:
    with Ring(sampler.maps["events"]) as ring:
        report(sampler, 1, 2, 3)
        assert consumed(ring) == [1, 2, 3]
        assert consumed(ring) == []
        assert ring.pending() == 0


def test_discarded_records_are_passed_over(sampler: Object) -> None:
    with Ring(sampler.maps["events"]) as ring:
        report(sampler, 1, 0xDEAD, 2)
        assert consumed(ring) == [1, 2]


def test_a_bounded_consume_leaves_the_rest_and_the_descriptor_readable(sampler: Object) -> None:
    with Ring(sampler.maps["events"]) as ring, select.epoll() as poll:
        poll.register(ring.fileno(), select.EPOLLIN)
        assert poll.poll(0) == []
        report(sampler, 1, 2, 3)
        assert poll.poll(1)
        assert consumed(ring, limit=2) == [1, 2]
        assert poll.poll(0)
        assert consumed(ring) == [3]
        assert poll.poll(0) == []


def test_a_full_ring_refuses_and_recovers_round_its_end(sampler: Object) -> None:
    with Ring(sampler.maps["events"]) as ring:
        for _ in range(3):  # the ring is 4096 bytes, a record 24: each time round ends elsewhere
            verdicts = report(sampler, *range(200))
            fitted = verdicts.count(0)
            assert verdicts == [0] * fitted + [9] * (200 - fitted)
            assert fitted == 170
            assert consumed(ring) == list(range(fitted))


def test_a_record_whose_handler_fails_does_not_come_back(sampler: Object) -> None:
    def fail(_: memoryview) -> None:
        raise RuntimeError("bad record")

    with Ring(sampler.maps["events"]) as ring:
        report(sampler, 1, 2)
        with pytest.raises(RuntimeError, match="bad record"):
            ring.consume(fail)
        assert consumed(ring) == [2]


def test_an_event_loop_wakes_for_records(sampler: Object) -> None:
    async def first() -> list[int]:
        loop, got = asyncio.get_running_loop(), asyncio.Event()
        marks: list[int] = []

        def readable() -> None:
            marks.extend(consumed(ring))
            got.set()

        loop.add_reader(ring.fileno(), readable)
        report(sampler, 8)
        await asyncio.wait_for(got.wait(), 5)
        loop.remove_reader(ring.fileno())
        return marks

    with Ring(sampler.maps["events"]) as ring:
        assert asyncio.run(first()) == [8]


def test_only_a_ring_buffer_can_be_read_so(sampler: Object) -> None:
    with pytest.raises(ValueError, match="exact is no ring buffer"):
        Ring(sampler.maps["exact"])


def test_a_record_tells_the_metadata_of_the_run(sampler: Object) -> None:
    events: list[SampleEvent] = []
    with Ring(sampler.maps["events"]) as ring:
        skb = SkBuff(mark=3, gso_size=40, gso_segs=2, ifindex=1)
        run_program(sampler.programs["reported"], bytes(100), skb)
        ring.consume(lambda record: events.append(codec(SampleEvent).decode(record)))
    assert events == [SampleEvent(mark=3, length=100, gso_size=40, ifindex=1)]

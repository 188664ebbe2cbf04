from __future__ import annotations

from onehop.controller.liveness import Judge

LEASE = 10.0


def judge(hosts: int) -> Judge:
    judge = Judge(LEASE, now=0)
    for n in range(hosts):
        judge.came(f"h{n}")
    return judge


def test_a_host_counts_as_dead_a_lease_time_after_it_went() -> None:
    told = judge(10)
    told.went("h1", now=100)
    assert told.dead(109) == set()
    assert told.dead(110) == {"h1"}


def test_a_host_that_came_back_lives() -> None:
    told = judge(10)
    told.went("h1", now=100)
    told.came("h1")
    assert told.dead(200) == set()


def test_a_judge_that_is_not_up_for_two_lease_times_says_nothing() -> None:
    told = judge(10)
    told.went("h1", now=1)
    assert told.dead(19.9) == set()
    assert told.dead(20) == {"h1"}


def test_when_more_than_a_fifth_go_together_none_counts_as_dead() -> None:
    told = judge(10)
    for n in range(3):
        told.went(f"h{n}", now=100 + n)
    assert told.dead(200) == set()
    told.came("h0")
    assert told.dead(200) == {"h1", "h2"}


def test_hosts_that_go_one_after_another_are_each_believed() -> None:
    told = judge(10)
    for n in range(5):
        told.went(f"h{n}", now=100 + 50 * n)
    assert told.dead(1000) == {f"h{n}" for n in range(5)}


def test_one_host_of_few_is_believed_too() -> None:
    told = judge(2)
    told.went("h1", now=100)
    assert told.dead(200) == {"h1"}


def test_a_host_that_was_removed_is_not_missed() -> None:
    told = judge(10)
    told.went("h1", now=100)
    told.only({"h0"})
    assert told.dead(200) == set()

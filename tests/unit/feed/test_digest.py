from __future__ import annotations

import random

from onehop.feed.digest import BUCKETS, bucket_of, differing, digests
from tests.unit.feed.cloudlet import uid

HELD = [(uid(3, n), n) for n in range(2000)]


def test_digests_do_not_depend_on_order() -> None:
    assert digests(HELD) == digests(random.Random(1).sample(HELD, len(HELD)))


def test_only_the_buckets_that_differ_are_told() -> None:
    changed = [*HELD[1:], (uid(4, 1), 3)]
    assert differing(digests(HELD), digests(changed)) == sorted({bucket_of(HELD[0][0]), bucket_of(uid(4, 1))})


def test_another_revision_of_the_same_object_differs() -> None:
    assert differing(digests([(uid(3, 1), 1)]), digests([(uid(3, 1), 2)])) == [bucket_of(uid(3, 1))]


def test_ids_spread_over_all_buckets() -> None:
    assert {bucket_of(id) for id, _ in HELD} == set(range(BUCKETS))

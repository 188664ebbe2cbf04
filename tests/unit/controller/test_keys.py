from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.controller.allocate import Resting
from onehop.controller.holders import Holders, HoldersOverlay
from onehop.controller.keys import decode, no_refs_besides, parse_resting_key, ref_key, resting_key
from onehop.model.claims import Claim, ip_claim, key_claim
from onehop.store import Incompatible, PrefixEmpty, RangeEmpty


def allows(guards: list[PrefixEmpty | RangeEmpty], key: str) -> bool:
    """Whether the guards hold while this key is there."""
    for guard in guards:
        if isinstance(guard, PrefixEmpty):
            if key.startswith(guard.prefix):
                return False
        elif guard.start <= key < guard.end:
            return False
    return True


names = st.text(alphabet="0123456789abcdef-", min_size=1, max_size=4)


@given(st.sets(names), names)
def test_only_the_references_named_are_allowed(known: set[str], there: str) -> None:
    guards = no_refs_besides("t", [ref_key("t", "port", name) for name in known])
    assert allows(guards, ref_key("t", "port", there)) == (there in known)
    assert allows(guards, ref_key("u", "port", there))


@given(st.sampled_from([ip_claim("n", "fd00::1"), ip_claim("n", "10.0.0.1"), key_claim(7)]))
def test_the_key_of_a_resting_value_is_read_back(claim: Claim) -> None:
    assert parse_resting_key(resting_key(claim)) == claim


@pytest.mark.parametrize("value", [b"", b"{", b"{}", b'{"id": 1}', b"\xff", b'{"id":"x","name":"y","new":1}'])
def test_what_cannot_be_read_says_what_to_do(value: bytes) -> None:
    with pytest.raises(Incompatible, match="restore a backup"):
        decode("obj/network/x", value)


def test_a_kind_of_a_newer_version_says_what_to_do() -> None:
    with pytest.raises(Incompatible, match="newer Onehop"):
        decode("obj/teleporter/x", b"{}")


def test_a_value_rests_until_its_time_is_over() -> None:
    now = 1000.0
    resting = Resting(lambda: now)
    address, key, mac = ip_claim("n", "10.0.0.1"), key_claim(7), Claim("mac/n", "02:00:00:00:00:01")
    for claim in (address, key, mac):
        resting.note(claim)
    assert (resting.rests(address), resting.rests(key), resting.rests(mac)) == (True, True, False)
    now += 61
    assert (resting.rests(address), resting.rests(key)) == (False, True)
    now += 86400
    assert not resting.rests(key)


def test_claims_given_up_above_stay_beneath() -> None:
    base = Holders()
    base.add([key_claim(1), key_claim(2)], "a")
    over = HoldersOverlay(base)
    over.drop([key_claim(1)], "a")
    over.add([key_claim(3)], "b")
    assert [over.owner(key_claim(n)) for n in (1, 2, 3)] == [None, "a", "b"]
    assert [base.owner(key_claim(n)) for n in (1, 2, 3)] == ["a", "a", None]
    over.add([key_claim(1)], "b")
    assert over.owner(key_claim(1)) == "b"


def test_what_somebody_else_has_by_now_is_not_taken_away() -> None:
    holders = Holders()
    holders.add([key_claim(1)], "b")
    holders.drop([key_claim(1)], "a")
    assert holders.owner(key_claim(1)) == "b"

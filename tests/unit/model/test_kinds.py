from __future__ import annotations

import msgspec
import pytest

from onehop.model import KINDS, Kind
from onehop.model.fields import leaves, references

ALL = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@ALL
def test_a_kind_can_be_decoded_and_described(kind: Kind) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"required field|unknown field"):
        msgspec.json.decode(b'{"colour": 1}', type=kind.type)
    schema = msgspec.json.schema(kind.type)
    assert schema["$defs"][kind.type.__name__]["additionalProperties"] is False


@ALL
def test_every_field_says_what_it_is(kind: Kind) -> None:
    assert kind.doc
    assert [".".join(leaf.path) for leaf in leaves(kind.type) if not leaf.trait.doc] == []


@ALL
def test_references_name_kinds_that_exist(kind: Kind) -> None:
    assert {leaf.trait.ref for leaf in references(kind.type)} <= KINDS.keys()

"""Several operations in one transaction."""

from __future__ import annotations

import pytest

from tests.support.controller import Api, Json, Refused


def create(kind: str, **fields: object) -> Json:
    return {"op": "create", "kind": kind, "body": fields}


def test_later_operations_refer_to_earlier_ones_by_name(api: Api) -> None:
    done = api.bulk(
        create("network", name="web"),
        create("subnet", name="v4", network="web", cidr="10.0.0.0/24"),
        create("port", name="a", network="web"),
        {"op": "patch", "kind": "network", "ref": "web", "body": {"mtu": 1400}},
    )
    network, subnet, port, patched = done["results"]
    assert port["addresses"][0]["subnet"] == subnet["id"]
    assert (patched["id"], patched["mtu"]) == (network["id"], 1400)
    assert {result["revision"] for result in done["results"]} == {done["revision"]}


def test_a_bulk_is_whole_or_absent_and_tells_which_operation_is_wrong(api: Api) -> None:
    with pytest.raises(Refused) as refused:
        api.bulk(create("network", name="web"), create("network", name="Web"))
    assert refused.value.error["operation"] == 1
    assert api.list("networks") == []


def test_beyond_128_operations_apply_is_named(api: Api) -> None:
    with pytest.raises(Refused, match="apply") as refused:
        api.bulk(*(create("network", name=f"n{i}") for i in range(129)))
    assert refused.value.status == 413
    assert len(api.bulk(*(create("network", name=f"n{i}") for i in range(128)))["results"]) == 128


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ({"op": "create"}, "operations[0].kind"),
        ({"op": "make", "kind": "network"}, "operations[0].op"),
        ({"op": "create", "kind": "net", "body": {}}, "operations[0].kind"),
        ({"op": "create", "kind": "network", "body": {}, "ref": "a"}, "operations[0].ref"),
        ({"op": "delete", "kind": "network"}, "operations[0].ref"),
        ({"op": "delete", "kind": "network", "ref": "a", "if_match": -1}, "operations[0].if_match"),
        ({"op": "delete", "kind": "network", "ref": "a", "iff": 1}, "operations[0].iff"),
        ({"op": "create", "kind": "token", "body": {}}, "operations[0]"),
    ],
)
def test_an_operation_that_is_not_whole_names_its_field(api: Api, operation: Json, field: str) -> None:
    with pytest.raises(Refused) as refused:
        api.bulk(operation)
    assert (refused.value.status, refused.value.fields) == (400, [field])


def test_a_stale_operation_stops_the_bulk(api: Api) -> None:
    before = api.create("networks", name="web")
    api.patch("networks", "web", mtu=1400)
    stale = {"op": "delete", "kind": "network", "ref": "web", "if_match": before["revision"]}
    with pytest.raises(Refused) as refused:
        api.bulk(create("network", name="other"), stale)
    assert refused.value.status == 412
    assert [network["name"] for network in api.list("networks")] == ["web"]

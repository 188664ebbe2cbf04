"""Lists: filters, pages, and the revision that a list is of."""

from __future__ import annotations

import base64

import pytest

from tests.support.controller import Api, Json, Refused


def names(items: list[Json]) -> list[str]:
    return sorted(item["name"] for item in items)


def test_a_list_is_of_one_project_if_asked(api: Api, admin: Api) -> None:
    api.create("networks", name="mine")
    assert names(api.list("networks")) == ["mine"]
    assert len(admin.list("networks", limit=1000)) >= 1


def test_filters_by_name_label_and_reference(api: Api) -> None:
    for network in ("a", "b"):
        api.create("networks", name=network, labels={"tier": network, "all": "yes"})
        api.create("ports", name=f"{network}-1", network=network)
    assert names(api.list("networks", name="a")) == ["a"]
    assert names(api.list("networks", label="tier=b")) == ["b"]
    assert names(api.list("networks", label=["all", "tier=a"])) == ["a"]
    assert names(api.list("networks", label="none")) == []
    assert names(api.list("ports", network="a")) == ["a-1"]


def test_filters_by_references_in_lists(api: Api) -> None:
    api.create("networks", name="web")
    api.create("security-groups", name="g")
    api.create("ports", name="in", network="web", security_groups=["g"])
    api.create("ports", name="out", network="web")
    assert names(api.list("ports", security_groups="g")) == ["in"]


def test_a_filter_by_something_unknown_is_refused(api: Api) -> None:
    for parameters, status, field in (
        ({"network": "nope"}, 404, "network"),
        ({"nework": "web"}, 400, "nework"),
        ({"limit": "0"}, 400, "limit"),
        ({"limit": "1001"}, 400, "limit"),
        ({"limit": "many"}, 400, "limit"),
        ({"cursor": "x"}, 400, "cursor"),
        ({"label": "=x"}, 400, "label"),
    ):
        with pytest.raises(Refused) as refused:
            api.list("ports", **parameters)
        assert (refused.value.status, refused.value.fields) == (status, [field])


def test_pages_are_of_one_revision_whatever_happens_between(api: Api) -> None:
    made = {api.create("networks", name=f"n{i}")["id"] for i in range(5)}
    first = api.told("GET", "/v1/networks", params={"limit": 2})
    held = {item["id"] for item in first["items"]}
    gone = next(id for id in made if id not in held)
    api.delete("networks", gone)
    api.create("networks", name="late")
    pages = [first]
    while pages[-1]["next"]:
        pages.append(api.told("GET", "/v1/networks", params={"limit": 2, "cursor": pages[-1]["next"]}))
    assert [item["id"] for page in pages for item in page["items"]] == sorted(made)
    assert {page["revision"] for page in pages} == {first["revision"]}


def test_a_cursor_of_a_revision_that_is_yet_to_come_is_refused(api: Api) -> None:
    for i in range(3):
        api.create("networks", name=f"n{i}")
    plain = f"{10**9}.{api.list('networks')[0]['id']}"
    cursor = base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")
    assert api.call("GET", "/v1/networks", params={"cursor": cursor}).status_code == 410

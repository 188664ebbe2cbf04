"""What the controller tells of itself."""

from __future__ import annotations

import re
from typing import Any

from onehop.model import KINDS
from tests.support.controller import Api, Json


def test_health_tells_of_the_store(admin: Api) -> None:
    told = admin.told("GET", "/v1/health")
    assert (told["status"], told["store"]) == ("ok", "ok")


def test_the_document_covers_every_kind_and_takes_no_unknown_properties(admin: Api) -> None:
    document = admin.told("GET", "/v1/openapi.json")
    assert document["openapi"] == "3.1.0"
    for kind in KINDS.values():
        assert document["paths"][f"/v1/{kind.plural}"].keys() == {"get", "post"}
        item = document["paths"][f"/v1/{kind.plural}/{{ref}}"]
        assert item.keys() == {"parameters", "get", "put", "patch", "delete"}
    for name, schema in document["components"]["schemas"].items():
        assert schema["additionalProperties"] is False, name


def test_the_document_holds_no_secrets_and_every_reference_in_it_leads_somewhere(admin: Api) -> None:
    document = admin.told("GET", "/v1/openapi.json")
    schemas = document["components"]["schemas"]
    assert "hash" not in schemas["Token"]["properties"]
    assert "hash" not in schemas["TokenSpec"]["properties"]
    for target in _references(document):
        assert target.removeprefix("#/components/schemas/") in schemas


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in _references(inner)]
    return [found for inner in value for found in _references(inner)] if isinstance(value, list) else []


def test_the_page_loads_nothing_from_elsewhere(admin: Api) -> None:
    page = admin.call("GET", "/v1/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert re.findall(r'(?:src|href)="([^"]*)"', page.text) == ["docs.js"]
    script = admin.call("GET", "/v1/docs.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "http" not in page.text + script.text


def test_metrics_count_requests_by_template_and_objects_by_kind(admin: Api, api: Api) -> None:
    api.create("networks", name="web")
    api.get("networks", "web")
    text = admin.call("GET", "/metrics").text
    assert 'onehop_http_requests_total{method="GET",path="/v1/{plural}/{ref}",status="200"}' in text
    assert re.search(r'onehop_objects{kind="network"} [1-9]', text)
    assert re.search(r"onehop_revision [1-9]", text)


def test_paths_that_are_made_up_do_not_become_labels(admin: Api) -> None:
    for i in range(5):
        admin.call("GET", f"/made-up-{i}/x/y")
    assert "made-up" not in admin.call("GET", "/metrics").text


def test_a_caller_that_does_not_take_the_type_of_the_reply_is_refused(admin: Api) -> None:
    replies = {
        "application/json": 200,
        "application/*": 200,
        "text/html, */*;q=0.8": 200,
        "text/html": 406,
        "*/*;q=0": 406,
        "application/json;q=0.0, text/html": 406,
        "": 406,
    }
    for accept, status in replies.items():
        reply = admin.call("GET", "/v1/networks", headers={"Accept": accept})
        assert reply.status_code == status, accept
        if status == 406:
            assert reply.json()["error"]["code"] == "not_acceptable"


def test_errors_have_one_shape(admin: Api) -> None:
    replies: list[tuple[str, str, Json | None]] = [
        ("GET", "/nope", None),
        ("POST", "/v1/whoami", {}),
        ("GET", "/v1/networks/nope", None),
        ("POST", "/v1/networks", {"nope": 1}),
    ]
    for method, path, body in replies:
        error = admin.call(method, path, body).json()["error"]
        assert {"code", "message", "problems"} <= error.keys()

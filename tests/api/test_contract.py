"""The API does what its OpenAPI document says, whatever it is sent. schemathesis looks for exceptions."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onehop.model import KINDS
from tests.support.controller import Api, Controller, Json

ROOT = Path(__file__).parents[2]
SECONDS = 150  # at most; it takes a quarter of it
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "missing_required_header",
)

# A stale ETag may be found before what is wrong with a body.
SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422]
"""


@pytest.fixture(scope="module")
def world(admin: Api) -> dict[str, list[str]]:
    """Some objects of every kind, for generated requests to refer to: by kind, their references."""
    api = admin
    project = api.create("projects", name="contract")["id"]

    def make(plural: str, **fields: Any) -> str:
        body = {"project": project, **fields} if plural not in CLOUD else fields
        made: str = api.create(plural, **body)["id"]
        return made

    network, router = make("networks", name="web"), make("routers", name="edge")
    subnets = [
        make("subnets", name="v4", network=network, cidr="10.0.0.0/24"),
        make("subnets", name="v6", network=network, cidr="fd00:1::/64"),
    ]
    link = api.told("POST", f"/v1/routers/{router}/attach", {"network": network})["results"]
    group, addresses = make("security-groups", name="g"), make("address-groups", name="a")
    port = make("ports", name="p", network=network, security_groups=[group])
    underlay, host = make("underlays", name="u"), make("hosts", name="h")
    token = make("tokens", name="contract")
    street = make("networks", name="street", grants=[{"allow": "external"}])
    outside = make("subnets", name="outside", network=street, cidr="203.0.113.0/24")
    outer = api.told("POST", f"/v1/routers/{router}/attach", {"network": street})["results"]
    rule = make("nat-rules", name="m", port=outer[0]["id"], action="masquerade")
    binding = make("bindings", port=port, host=host, interface="tap0")
    return {
        "project": [project],
        "network": [network, "web"],
        "router": [router],
        "subnet": subnets,
        "link": [link[2]["id"]],
        "port": [port, link[0]["id"], link[1]["id"], "web/p"],
        "route": [make("routes", router=router, destination="0.0.0.0/0", action="blackhole")],
        "security-group": [group],
        "security-group-rule": [make("security-group-rules", security_group=group, direction="ingress")],
        "address-group": [addresses],
        "address-group-entry": [make("address-group-entries", address_group=addresses, cidr="10.9.0.0/16")],
        "acl": [make("acls", name="acl", rules=[{"id": "one", "action": "allow"}])],
        "underlay": [underlay],
        "host": [host],
        "nat-rule": [rule],
        "floating-ip": [make("floating-ips", name="f", subnet=outside, port=port)],
        "snat-block": [block["id"] for block in api.list("snat-blocks")],
        "binding": [binding],
        "token": [token],
        "role": [make("roles", token=token, role="reader", project=project)],
    }


CLOUD = {kind.plural for kind in KINDS.values() if kind.scope == "cloud"}


def sharpened(document: Json, world: dict[str, list[str]]) -> Json:
    """The document with the references of requests drawn from what there is: deeper paths are reached."""
    sharp = copy.deepcopy(document)
    for name, schema in sharp["components"]["schemas"].items():
        if name.endswith(("Spec", "Replace", "Patch")):
            for field in schema["properties"].values():
                for text in (field, field.get("items", {})):
                    if text.get("x-refers-to") in world:
                        _draw_from(text, world[text["x-refers-to"]])
    for path, item in sharp["paths"].items():
        kind = next((kind for kind in KINDS.values() if path.startswith(f"/v1/{kind.plural}")), None)
        for call in item.values():
            for parameter in call.get("parameters", ()) if isinstance(call, dict) else ():
                if parameter["name"] == "project":
                    parameter["schema"] = {"enum": ["contract", world["project"][0], "nope"]}
        if kind is not None and "parameters" in item:
            item["parameters"][0]["schema"] = {"enum": [*world[kind.name], "nope"]}
    return sharp


def _draw_from(schema: Json, references: list[str]) -> None:
    may_be_null = any(option == {"type": "null"} for option in schema.get("anyOf", ()))
    for key in ("type", "anyOf"):
        schema.pop(key, None)
    schema["enum"] = [*references, "nope", *([None] if may_be_null else [])]


def test_every_kind_can_be_reached(world: dict[str, list[str]]) -> None:
    assert world.keys() == KINDS.keys()


@pytest.mark.timeout(SECONDS + 30)
def test_no_request_brings_a_fault_or_an_undocumented_reply(
    controller: Controller, admin: Api, world: dict[str, list[str]], tmp_path: Path
) -> None:
    document, settings = tmp_path / "openapi.json", tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS)
    document.write_text(json.dumps(sharpened(admin.told("GET", "/v1/openapi.json"), world)))
    seed = int(os.environ.get("ONEHOP_SEED", random.randrange(1 << 32)))
    print(f"ONEHOP_SEED={seed}")
    program = str(Path(sys.executable).parent / "schemathesis")
    command = [program, "--config-file", str(settings), "run", str(document), "--url", controller.url]
    command += ["-H", f"Authorization: Bearer {controller.admin_token}", "--checks", ",".join(CHECKS)]
    command += ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "4", "--seed", str(seed)]
    command += ["--no-shrink", "--no-color", "--warnings", "off", "--max-time", "30", "--max-failures", "20"]
    command += ["--generation-database", "none", "--request-timeout", "20"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.api.generating", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert run.returncode == 0, run.stdout[-12000:] + run.stderr[-2000:]

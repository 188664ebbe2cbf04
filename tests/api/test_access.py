"""Who may do what: tokens, roles, projects, grants. What one may not see is not there."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.controller import Api, Controller, Json, Refused, someone


@pytest.fixture
def other(admin: Api, project: Json) -> Json:
    return admin.create("projects", name=f"{project['name']}-other")


def test_without_a_token_all_but_the_open_paths_are_refused(controller: Controller, admin: Api) -> None:
    nobody = controller.api("x")
    paths: dict[str, dict[str, Json]] = admin.told("GET", "/v1/openapi.json")["paths"]
    for path, item in paths.items():
        for method, call in item.items():
            if method == "parameters":
                continue
            body = {} if "requestBody" in call else None
            reply = nobody.call(
                method.upper(), path.replace("{ref}", "x"), body, headers={"Authorization": ""}
            )
            is_open = call.get("security") == [] and path != "/v1/hosts/join"
            assert (reply.status_code == 200) if is_open else (reply.status_code in (400, 401)), path


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer x",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer onehop_",
        f"Bearer onehop_{uuid.UUID(int=0)}_x",
        "Bearer " + "x" * 5000,
    ],
)
def test_what_is_no_token_is_refused_with_a_sentence(controller: Controller, header: str) -> None:
    reply = controller.api("x").call("GET", "/v1/whoami", headers={"Authorization": header})
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "unauthorized")
    assert reply.headers["www-authenticate"].startswith("Bearer")


def test_a_secret_is_shown_once_and_only_its_hash_is_kept(controller: Controller, admin: Api) -> None:
    made = admin.create("tokens", name="once")
    assert controller.api(made["secret"]).told("GET", "/v1/whoami")["token"] == made["id"]
    shown = admin.get("tokens", "once")
    assert not {"secret", "hash"} & shown.keys()
    stored = b"".join(f.read_bytes() for f in controller.directory.glob("store.db*"))
    assert made["secret"].encode() not in stored
    assert made["secret"] not in admin.call("GET", "/v1/audit", params={"limit": 1000}).text


def test_a_token_whose_reply_was_lost_gets_another_secret(controller: Controller, admin: Api) -> None:
    headers = {"Idempotency-Key": "token-once"}
    lost, again = (admin.told("POST", "/v1/tokens", {"name": "lost"}, headers=headers) for _ in range(2))
    assert lost["id"] == again["id"]
    assert controller.api(again["secret"]).call("GET", "/v1/whoami").status_code == 200
    assert controller.api(lost["secret"]).call("GET", "/v1/whoami").status_code == 401


def test_an_expired_token_is_refused(controller: Controller, admin: Api) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat(timespec="seconds")
    caller = controller.api(admin.create("tokens", name="short", expires=soon)["secret"])
    until = time.monotonic() + 10
    while caller.call("GET", "/v1/whoami").status_code == 200 and time.monotonic() < until:
        time.sleep(0.05)
    with pytest.raises(Refused, match="expired") as refused:
        caller.told("GET", "/v1/whoami")
    assert refused.value.status == 401


def test_a_deleted_token_is_refused(controller: Controller, admin: Api) -> None:
    made = admin.create("tokens", name="gone")
    caller = controller.api(made["secret"])
    assert caller.call("GET", "/v1/whoami").status_code == 200
    admin.delete("tokens", "gone")
    assert caller.call("GET", "/v1/whoami").status_code == 401


def test_whoami_tells_the_roles(controller: Controller, project: Json, other: Json) -> None:
    caller = someone(controller, **{project["id"]: "member", other["id"]: "reader"})
    told = caller.told("GET", "/v1/whoami")
    assert {(p["name"], p["role"]) for p in told["projects"]} == {
        (project["name"], "member"),
        (other["name"], "reader"),
    }
    assert (told["role"], told["project"]) == (None, None)


def test_the_only_project_of_a_token_is_the_current_one(controller: Controller, project: Json) -> None:
    caller = someone(controller, **{project["id"]: "member"})
    assert caller.create("networks", name="web")["project"] == project["id"]
    assert caller.get("networks", "web")["name"] == "web"


def test_a_reader_reads_and_does_not_write(controller: Controller, api: Api, project: Json) -> None:
    api.create("networks", name="web")
    reader = someone(controller, **{project["id"]: "reader"})
    assert reader.get("networks", "web")["name"] == "web"
    for write in (
        lambda: reader.create("networks", name="mine"),
        lambda: reader.patch("networks", "web", mtu=1400),
        lambda: reader.replace("networks", "web", name="web"),
        lambda: reader.delete("networks", "web"),
    ):
        with pytest.raises(Refused) as refused:
            write()
        assert (refused.value.status, refused.value.code) == (403, "forbidden")


def test_another_projects_objects_are_not_there(controller: Controller, api: Api, other: Json) -> None:
    network = api.create("networks", name="web")
    port = api.create("ports", name="a", network="web")
    stranger = someone(controller, **{other["id"]: "member"})
    assert stranger.list("networks") == []
    for plural, ref in (("networks", network["id"]), ("ports", port["id"]), ("networks", "web")):
        for method, body in (
            ("GET", None),
            ("PUT", {"name": "b"}),
            ("PATCH", {"title": "b"}),
            ("DELETE", None),
        ):
            reply = stranger.call(method, f"/v1/{plural}/{ref}", body)
            if (method, ref) != ("PUT", "web"):
                assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
    assert api.get("networks", "web") == network


def test_what_is_another_projects_is_told_as_what_does_not_exist(
    controller: Controller, api: Api, project: Json, other: Json
) -> None:
    network = api.create("networks", name="web")
    stranger = someone(controller, **{other["id"]: "member"})
    missing = str(uuid.uuid4())

    def told(template: str, id: str) -> str:
        return stranger.call("GET", template.format(id)).text.replace(id, "ID")

    for template in ("/v1/networks/{}", "/v1/subnets?network={}", "/v1/networks?project={}"):
        is_project = "project=" in template
        assert told(template, project["id"] if is_project else network["id"]) == told(template, missing)


def test_another_projects_objects_cannot_be_referred_to(
    controller: Controller, api: Api, project: Json, other: Json
) -> None:
    network = api.create("networks", name="web")
    stranger = someone(controller, **{other["id"]: "member"})
    for ref in (network["id"], f"{project['name']}:web", str(uuid.uuid4())):
        with pytest.raises(Refused) as refused:
            stranger.create("ports", network=ref)
        assert refused.value.status in (404, 422)
        assert refused.value.fields == ["network"]
    assert api.list("ports") == []


def test_a_grant_makes_a_network_readable_and_no_more(
    controller: Controller, api: Api, project: Json, other: Json
) -> None:
    network = api.create("networks", name="shared", grants=[{"allow": "use", "project": other["id"]}])
    subnet = api.create("subnets", name="v4", network="shared", cidr="10.0.0.0/24")
    mine = api.create("ports", name="mine", network="shared")
    friend = someone(controller, **{other["id"]: "member"})
    assert friend.get("networks", network["id"]) == api.get("networks", "shared")
    assert friend.get("subnets", subnet["id"])["cidr"] == "10.0.0.0/24"
    assert friend.call("GET", f"/v1/ports/{mine['id']}").status_code == 404
    assert friend.call("PATCH", f"/v1/networks/{network['id']}", {"mtu": 1400}).status_code == 403
    theirs = friend.create("ports", name="theirs", network=network["id"])
    assert (theirs["project"], theirs["network"]) == (other["id"], network["id"])


def test_what_belongs_to_the_cloud_is_the_administrators(controller: Controller, project: Json) -> None:
    member = someone(controller, **{project["id"]: "admin"})
    assert member.list("hosts") == member.list("tokens") == member.list("bindings") == []
    for plural in ("projects", "tokens", "roles", "hosts", "underlays"):
        assert member.call("POST", f"/v1/{plural}", {"name": "mine"}).status_code == 403
    for path in ("/v1/audit", "/metrics"):
        assert member.call("GET", path).status_code == 403


def test_a_cloud_reader_sees_everything_and_writes_nothing(controller: Controller, admin: Api) -> None:
    token = admin.create("tokens", name="watcher")
    admin.create("roles", token="watcher", role="reader")
    reader = controller.api(token["secret"])
    assert reader.list("tokens")
    assert reader.call("GET", "/v1/audit").status_code == 200
    assert reader.call("GET", "/metrics").status_code == 200
    assert reader.call("POST", "/v1/projects", {"name": "mine"}).status_code == 403


def test_the_audit_tells_who_did_what(controller: Controller, admin: Api, project: Json) -> None:
    caller = someone(controller, **{project["id"]: "member"})
    name = caller.told("GET", "/v1/whoami")["name"]
    network = caller.create("networks", name="web")
    caller.patch("networks", "web", mtu=1400)
    caller.delete("networks", "web")
    entries = admin.told("GET", "/v1/audit", params={"id": network["id"]})["items"]
    seen = [
        (e["actor"], (c.get("before") or {}).get("mtu"), (c.get("after") or {}).get("mtu"))
        for e in entries
        for c in e["changes"]
    ]
    assert [(actor, after) for actor, _, after in seen] == [(name, None), (name, 1400), (name, None)]
    assert entries == admin.told("GET", "/v1/audit", params={"actor": name})["items"]


def test_the_audit_comes_in_pages(admin: Api, api: Api, project: Json) -> None:
    for i in range(5):
        api.create("networks", name=f"n{i}")
    found: list[Json] = []
    parameters: dict[str, str | int] = {"project": project["id"], "limit": 2}
    while True:
        page = admin.told("GET", "/v1/audit", params=parameters)
        found += page["items"]
        if page["next"] is None:
            break
        parameters["cursor"] = page["next"]
    assert [entry["changes"][0]["name"] for entry in found] == [f"n{i}" for i in range(5)]
    later = {"project": project["id"], "since": "2200-01-01T00:00:00Z"}
    assert admin.told("GET", "/v1/audit", params=later)["items"] == []


def test_a_host_joins_once_with_its_join_token(controller: Controller, admin: Api) -> None:
    host = admin.create("hosts", name="h1")
    token = admin.told("POST", "/v1/hosts/h1/join-token")["token"]
    nobody = controller.api("x")
    joined = nobody.told("POST", "/v1/hosts/join", {"token": token})
    assert (joined["host"], joined["name"]) == (host["id"], "h1")
    told = controller.api(joined["token"]).told("GET", "/v1/whoami")
    assert (told["host"], told["role"]) == (host["id"], "host")
    assert nobody.call("POST", "/v1/hosts/join", {"token": token}).status_code == 401


def test_joining_anew_ends_the_credential_that_the_host_had(controller: Controller, admin: Api) -> None:
    admin.create("hosts", name="h-again")
    first, second = (
        controller.api("x").told(
            "POST",
            "/v1/hosts/join",
            {"token": admin.told("POST", "/v1/hosts/h-again/join-token")["token"]},
        )
        for _ in range(2)
    )
    assert controller.api(first["token"]).call("GET", "/v1/whoami").status_code == 401
    assert controller.api(second["token"]).call("GET", "/v1/whoami").status_code == 200


def test_the_problems_of_one_request_are_bounded(admin: Api) -> None:
    nonsense = {f"field-{n}": n for n in range(1000)}
    problems = admin.call("POST", "/v1/projects", nonsense).json()["error"]["problems"]
    assert len(problems) == 65 and problems[-1]["message"].startswith("and ")


def test_join_tokens_are_made_by_administrators_for_hosts_that_exist(
    controller: Controller, admin: Api, project: Json
) -> None:
    admin.create("hosts", name="h2")
    member = someone(controller, **{project["id"]: "admin"})
    assert member.call("POST", "/v1/hosts/h2/join-token").status_code == 404
    assert admin.call("POST", "/v1/hosts/unknown/join-token").status_code == 404


def test_a_join_token_that_is_none_is_refused(controller: Controller) -> None:
    nobody = controller.api("x")
    for token in ("", "onehop_join_x", "\u00e9", "x" * 10000):
        assert nobody.call("POST", "/v1/hosts/join", {"token": token}).status_code == 401
    assert nobody.call("POST", "/v1/hosts/join", {"token": 1}).status_code == 400


def test_a_hosts_credential_reads_no_projects(controller: Controller, admin: Api, api: Api) -> None:
    api.create("networks", name="web")
    admin.create("hosts", name="h3")
    token = admin.told("POST", "/v1/hosts/h3/join-token")["token"]
    host = controller.api(controller.api("x").told("POST", "/v1/hosts/join", {"token": token})["token"])
    assert host.list("networks") == host.list("tokens") == []
    assert host.call("POST", "/v1/networks", {"name": "mine"}).status_code in (403, 422)


def test_which_hosts_a_change_waits_for_is_the_clouds_affair(controller: Controller, admin: Api) -> None:
    project = f"waits-{uuid.uuid4().hex[:8]}"
    admin.create("projects", name=project)
    me = someone(controller, **{project: "member"})
    me.create("networks", name="web")
    port = me.create("ports", name="p", network="web")
    host = admin.create("hosts", name=f"h-{project}")["id"]
    admin.create("bindings", port=port["id"], host=host, interface="tap0")

    def waited(api: Api, title: str) -> Json:
        path = f"/v1/ports/{port['id']}"
        found: Json = api.told("PATCH", path, {"title": title}, params={"wait": "0.1"})["convergence"]
        return found

    mine, theirs = waited(me, "one"), waited(admin, "two")
    assert host not in str(mine)
    assert [len(mine[name]) for name in ("waiting", "dead")] == [
        len(theirs[name]) for name in ("waiting", "dead")
    ]
    assert host in (*theirs["waiting"], *theirs["dead"])

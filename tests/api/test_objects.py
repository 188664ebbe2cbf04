"""Objects over REST: made, read, changed, deleted; conditions; what is told when something is wrong."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from onehop.model import KINDS
from tests.support.controller import Api, Json, Refused


def test_a_made_object_is_shown_with_every_field(api: Api, project: Json) -> None:
    reply = api.call("POST", "/v1/networks", {"name": "web"})
    network = reply.json()
    assert reply.status_code == 201
    assert reply.headers["location"] == f"/v1/networks/{network['id']}"
    assert reply.headers["etag"] == f'"{network["revision"]}"'
    assert network.keys() == {*KINDS["network"].type.__struct_fields__, "revision", "status"}
    assert (network["project"], network["mtu"], network["status"]) == (project["id"], 1450, None)


def test_structs_within_an_object_are_shown_with_every_field(api: Api) -> None:
    api.create("networks", name="web")
    api.create("subnets", name="v4", network="web", cidr="10.0.0.0/24")
    (address,) = api.create("ports", name="a", network="web")["addresses"]
    assert address.keys() == {"subnet", "ip", "prefix"}


def test_an_object_is_found_by_id_name_and_parent(api: Api, project: Json) -> None:
    api.create("networks", name="web")
    port = api.create("ports", name="a", network="web")
    for ref in (port["id"], "a", "web/a", "web%2Fa", f"{project['name']}:web/a"):
        assert api.get("ports", ref) == port


def test_no_two_siblings_have_one_name(api: Api) -> None:
    api.create("networks", name="web")
    with pytest.raises(Refused) as refused:
        api.create("networks", name="web")
    assert (refused.value.status, refused.value.code) == (409, "conflict")


def test_unknown_objects_kinds_and_paths_are_not_found(api: Api) -> None:
    for path in ("/v1/networks/nope", f"/v1/networks/{uuid.uuid4()}", "/v1/nets", "/v1", "/", "/v2/networks"):
        reply = api.call("GET", path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found"), path


def test_methods_that_a_path_does_not_take_are_told(admin: Api) -> None:
    for method, path in (("DELETE", "/v1/networks"), ("GET", "/v1/bulk"), ("PUT", "/v1/whoami")):
        reply = admin.call(method, path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (405, "method_not_allowed")
        assert reply.headers["allow"]


def test_put_makes_an_object_with_the_id_given_and_is_idempotent(api: Api) -> None:
    id = str(uuid.uuid4())
    first = api.call("PUT", f"/v1/networks/{id}", {"name": "web"})
    second = api.call("PUT", f"/v1/networks/{id}", {"name": "web"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert first.json()["id"] == id


def test_put_takes_what_is_left_out_back_to_its_default(api: Api) -> None:
    api.create("networks", name="web", mtu=1400, labels={"a": "b"})
    after = api.replace("networks", "web", name="web", title="The web")
    assert (after["mtu"], after["labels"], after["title"]) == (1450, {}, "The web")


def test_put_takes_what_get_gave(api: Api) -> None:
    before = api.create("networks", name="web", mtu=1400)
    fields = {name: value for name, value in before.items() if name not in ("revision", "status")}
    assert api.replace("networks", "web", **fields) == before


def test_patch_changes_what_it_names_and_null_is_the_default(api: Api) -> None:
    api.create("networks", name="web", mtu=1400, title="t", labels={"a": "1", "b": "2"})
    after = api.patch("networks", "web", mtu=None, labels={"a": None, "c": "3"})
    assert (after["mtu"], after["title"], after["labels"]) == (1450, "t", {"b": "2", "c": "3"})


def test_delete_answers_with_what_was_deleted(api: Api) -> None:
    network = api.create("networks", name="web")
    assert api.delete("networks", "web")["id"] == network["id"]
    assert api.call("GET", "/v1/networks/web").status_code == 404


def test_what_is_in_use_is_not_deleted_and_its_users_are_told(api: Api) -> None:
    api.create("networks", name="web")
    api.create("ports", name="a", network="web")
    with pytest.raises(Refused, match="port") as refused:
        api.delete("networks", "web")
    assert refused.value.status == 409


def test_a_stale_etag_is_refused(api: Api) -> None:
    etag = api.call("POST", "/v1/networks", {"name": "web"}).headers["etag"]
    assert api.call("PATCH", "/v1/networks/web", {"mtu": 1400}, headers={"If-Match": etag}).status_code == 200
    for method, body in (("PATCH", {"mtu": 1300}), ("PUT", {"name": "web"}), ("DELETE", None)):
        reply = api.call(method, "/v1/networks/web", body, headers={"If-Match": etag})
        assert (reply.status_code, reply.json()["error"]["code"]) == (412, "stale")
    assert api.get("networks", "web")["mtu"] == 1400


@pytest.mark.parametrize("tag", ["x", '"x"', "1", '"1", "2"', '"99999999999999999999"', ""])
def test_an_if_match_that_is_no_etag_is_refused(api: Api, tag: str) -> None:
    api.create("networks", name="web")
    reply = api.call("DELETE", "/v1/networks/web", headers={"If-Match": tag})
    assert reply.status_code == 400
    assert reply.json()["error"]["problems"][0]["field"] == "If-Match"


def test_who_has_an_object_already_is_not_sent_it_again(api: Api) -> None:
    etag = api.call("POST", "/v1/networks", {"name": "web"}).headers["etag"]
    same = api.call("GET", "/v1/networks/web", headers={"If-None-Match": f'"0", {etag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    api.patch("networks", "web", mtu=1400)
    assert api.call("GET", "/v1/networks/web", headers={"If-None-Match": etag}).status_code == 200


def test_a_request_repeated_with_its_key_is_done_once(api: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    first = api.call("POST", "/v1/networks", {}, headers=headers)
    again = api.call("POST", "/v1/networks", {}, headers=headers)
    assert first.json() == again.json()
    assert (first.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert len(api.list("networks")) == 1


def test_a_key_used_for_another_request_is_refused(api: Api) -> None:
    headers = {"Idempotency-Key": "mine"}
    api.call("POST", "/v1/networks", {"name": "a"}, headers=headers)
    reply = api.call("POST", "/v1/networks", {"name": "b"}, headers=headers)
    assert reply.status_code == 422


def test_waiting_is_told_in_the_reply(api: Api) -> None:
    reply = api.call("POST", "/v1/networks", {"name": "web"}, params={"wait": "1.5"})
    assert reply.json()["convergence"]["done"] is True


def test_a_bad_parameter_is_refused_before_anything_is_written(api: Api) -> None:
    for parameters in (
        {"wait": "soon"},
        {"wait": "-1"},
        {"wait": "nan"},
        {"weight": "1"},
        {"project": "nope"},
    ):
        reply = api.call("POST", "/v1/networks", {"name": "web"}, params=parameters)
        assert reply.status_code in (400, 404)
        assert reply.json()["error"]["problems" if "project" not in parameters else "message"]
    assert api.list("networks") == []


def test_every_wrong_field_is_named(api: Api) -> None:
    api.create("networks", name="web")
    with pytest.raises(Refused) as refused:
        api.create("subnets", network="web", cidr="10.0.0.0/24", gatway="10.0.0.1", dhcp="yes")
    assert sorted(refused.value.fields) == ["dhcp", "gatway"]
    with pytest.raises(Refused) as refused:
        api.create(
            "subnets", network="web", cidr="10.0.0.1/24", gateway="me", dns_servers=["10.0.0.2", "::x"]
        )
    assert sorted(refused.value.fields) == ["cidr", "dns_servers[1]", "gateway"]
    assert refused.value.status == 422


def test_of_many_who_make_one_name_at_once_one_succeeds(api: Api) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: api.call("POST", "/v1/routers", {"name": "edge"}), range(16)))
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 15


def test_addresses_given_out_at_once_are_all_different(api: Api) -> None:
    api.create("networks", name="web")
    api.create("subnets", name="v4", network="web", cidr="10.0.0.0/26")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: api.create("ports", network="web"), range(32)))
    assert len({port["addresses"][0]["ip"] for port in made}) == 32
    assert len({port["key"] for port in made}) == 32


def test_attaching_a_router_makes_ports_and_link(api: Api) -> None:
    api.create("routers", name="edge")
    api.create("networks", name="web")
    api.create("subnets", name="v4", network="web", cidr="10.0.0.0/24")
    api.create("subnets", name="v6", network="web", cidr="fd00:1::/64")
    made = api.told("POST", "/v1/routers/edge/attach", {"network": "web"})["results"]
    inside = api.get("ports", "edge/web")
    assert [one["name"] for one in made] == ["web", "edge", "edge-web"]
    assert {address["ip"] for address in inside["addresses"]} == {"10.0.0.1", "fd00:1::1"}
    assert (made[2]["a"], made[2]["b"]) == (inside["id"], api.get("ports", "web/edge")["id"])


def test_there_are_no_other_actions(api: Api) -> None:
    api.create("routers", name="edge")
    for path in ("/v1/routers/edge/detach", "/v1/routers/attach", "/v1/networks/edge/attach"):
        reply = api.call("POST", path, {"network": "web"})
        assert (reply.status_code, reply.headers["allow"]) == (405, "GET, PUT, PATCH, DELETE")
    assert api.call("DELETE", "/v1/routers/edge/attach").headers["allow"] == "POST"


def test_options_tell_the_methods(api: Api) -> None:
    for path, methods in (("networks", "GET, POST"), ("networks/a", "GET, PUT, PATCH, DELETE")):
        assert api.call("OPTIONS", f"/v1/{path}").headers["allow"] == f"{methods}, OPTIONS"

"""Controllers that die, and several of them on one store."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.controller import Api, Controller, Json
from tests.support.etcd import EtcdCluster

LOOPBACK = ["--insecure-http"]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.05)


@pytest.fixture
def pair(etcd: EtcdCluster, tmp_path: Path) -> Iterator[tuple[Controller, Controller]]:
    """Two controllers on one new etcd store, the second with the first one's admin token."""
    url = etcd.url(f"/{uuid.uuid4()}/")
    with Controller(url, options=LOOPBACK) as one:
        (tmp_path / "admin-token").write_text(one.admin_token)
        with Controller(url, directory=tmp_path, options=LOOPBACK) as two:
            yield one, two


def test_a_controller_killed_while_writing_loses_nothing_acknowledged() -> None:
    with Controller(options=LOOPBACK) as controller:
        api = controller.api(project="default")
        acknowledged: list[Json] = []

        def write(worker: int) -> None:
            for number in itertools.count():
                try:
                    acknowledged.append(api.create("networks", name=f"n{worker}-{number}"))
                except httpx.TransportError:
                    return

        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, worker) for worker in range(4)]
            until(lambda: len(acknowledged) >= 100)
            controller.kill()
            for writer in writers:
                writer.result()
        controller.start()
        api = controller.api(project="default")
        found = {item["id"]: item for item in pages(api, "networks")}
        assert all(found[network["id"]] == network for network in acknowledged)
        # Of what was under way when it died, each write is whole: a name belongs to one network.
        assert len({item["name"] for item in found.values()}) == len(found)
        assert len(found) <= len(acknowledged) + 4


def pages(api: Api, plural: str) -> Iterator[Json]:
    cursor: dict[str, str] = {}
    while True:
        page = api.told("GET", f"/v1/{plural}", params={"limit": 1000, **cursor})
        yield from page["items"]
        if page["next"] is None:
            return
        cursor = {"cursor": page["next"]}


def test_a_retry_after_a_death_creates_nothing_twice() -> None:
    """Requests whose answer never came are sent again, with their keys, to the controller started anew."""
    with Controller(options=LOOPBACK) as controller:
        api = controller.api(project="default")
        keys = [f"key-{number}" for number in range(200)]
        unanswered: list[str] = []
        answered: dict[str, str] = {}
        enough = threading.Event()

        def make(key: str) -> None:
            try:
                reply = api.told("POST", "/v1/networks", {}, headers={"Idempotency-Key": key})
                answered[key] = reply["id"]
            except httpx.TransportError:
                unanswered.append(key)
            if len(answered) >= 50:
                enough.set()

        with ThreadPoolExecutor(4) as pool:
            made = [pool.submit(make, key) for key in keys]
            assert enough.wait(30)
            controller.kill()
            for one in made:
                one.result()
        assert unanswered
        controller.start()
        api = controller.api(project="default")
        for key in keys:
            reply = api.told("POST", "/v1/networks", {}, headers={"Idempotency-Key": key})
            assert reply["id"] == answered.setdefault(key, reply["id"])
        assert sorted(item["id"] for item in pages(api, "networks")) == sorted(answered.values())


def test_what_one_controller_writes_the_other_shows(pair: tuple[Controller, Controller]) -> None:
    one, two = (controller.api(project="default") for controller in pair)
    network = one.create("networks", name="web")
    until(lambda: two.call("GET", f"/v1/networks/{network['id']}").status_code == 200)
    assert two.get("networks", "web") == network
    changed = two.patch("networks", "web", mtu=1400)
    until(lambda: one.get("networks", "web")["revision"] == changed["revision"])
    etag = {"If-Match": f'"{network["revision"]}"'}
    assert one.call("DELETE", "/v1/networks/web", headers=etag).status_code == 412


def test_two_controllers_give_no_address_or_name_twice(pair: tuple[Controller, Controller]) -> None:
    apis = [controller.api(project="default") for controller in pair]
    apis[0].create("networks", name="web")
    subnet = apis[0].create("subnets", name="v4", network="web", cidr="10.0.0.0/26")
    until(lambda: apis[1].call("GET", f"/v1/subnets/{subnet['id']}").status_code == 200)
    with ThreadPoolExecutor(4) as pool:
        ports = list(pool.map(lambda i: apis[i % 2].create("ports", network="web"), range(30)))
        named = list(pool.map(lambda i: apis[i % 2].call("POST", "/v1/routers", {"name": "r"}), range(8)))
    assert len({port["addresses"][0]["ip"] for port in ports}) == 30
    assert len({port["key"] for port in ports} | {port["mac"] for port in ports}) == 60
    assert sorted(reply.status_code for reply in named) == [201] + [409] * 7


def test_a_key_is_known_at_the_other_controller_too(pair: tuple[Controller, Controller]) -> None:
    one, two = (controller.api(project="default") for controller in pair)
    headers = {"Idempotency-Key": "somewhere"}
    first = one.told("POST", "/v1/networks", {}, headers=headers)
    assert two.told("POST", "/v1/networks", {}, headers=headers)["id"] == first["id"]


def test_only_the_controller_that_was_first_makes_the_admin_token(
    pair: tuple[Controller, Controller],
) -> None:
    one, two = pair
    assert len(one.api().list("tokens")) == 1
    assert one.admin_token == two.admin_token


def duties(controller: Controller) -> set[str]:
    text = controller.api().call("GET", "/metrics").text
    held = [
        line for line in text.splitlines() if line.startswith("onehop_duty_held{") and line.endswith(" 1.0")
    ]
    return {line.split('"')[1] for line in held}


def test_duties_are_held_by_one_and_taken_over_when_it_dies(pair: tuple[Controller, Controller]) -> None:
    one, two = pair
    every = {"sweep", "compact", "blocks"}
    until(lambda: duties(one) == every)
    assert duties(two) == set()
    one.kill()
    until(lambda: duties(two) == every, seconds=60)


def test_duties_are_handed_over_at_once_in_an_orderly_end(pair: tuple[Controller, Controller]) -> None:
    one, two = pair
    until(lambda: bool(duties(one)))
    one.hang_up()
    assert one.end() == 0
    until(lambda: bool(duties(two)))


def test_without_its_store_a_controller_says_so_and_comes_back() -> None:
    with EtcdCluster() as etcd, Controller(etcd.url(), options=LOOPBACK) as controller:
        api = controller.api(project="default")
        network = api.create("networks", name="web")
        etcd.kill()
        assert health(controller.url) == 503
        reply = api.call("POST", "/v1/networks", {"name": "other"}, timeout=60)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable")
        assert api.get("networks", "web") == network  # reading goes on
        etcd.start()
        until(lambda: health(controller.url) == 200)
        until(lambda: api.call("POST", "/v1/networks", {"name": "third"}).status_code in (201, 409))


def health(url: str) -> int:
    try:
        with urllib.request.urlopen(f"{url}/v1/health", timeout=30) as reply:
            json.load(reply)
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)


def test_health_tells_of_an_object_that_only_a_newer_version_can_read(etcd: EtcdCluster) -> None:
    prefix = f"/{uuid.uuid4()}/"
    with Controller(etcd.url(prefix), options=LOOPBACK) as controller:
        api = controller.api()
        assert api.call("GET", "/v1/health").status_code == 200
        key = f"{prefix}data/obj/network/{uuid.uuid4()}".encode()
        value = json.dumps({"hologram": True}).encode()
        etcd.post("kv/put", {"key": b64encode(key).decode(), "value": b64encode(value).decode()})
        until(lambda: api.call("GET", "/v1/health").status_code == 503)
        told = api.call("GET", "/v1/health").json()
        assert told["status"] == "unavailable" and "newer Onehop" in told["store"]
        assert httpx.get(f"{controller.url}/v1/health").json()["store"] == "cannot be read"

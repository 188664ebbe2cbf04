"""Traces and reach: of a controller, and of a document without one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.cli.conftest import Project

DOCUMENT = """\
stack: shop
networks:
  web:
    subnets: {v4: {cidr: 10.0.1.0/24}}
    ports: {web-1: {addresses: [{ip: 10.0.1.5}], security_groups: [web]}}
  db:
    subnets: {v4: {cidr: 10.0.2.0/24}}
    ports: {db-1: {addresses: [{ip: 10.0.2.7}], security_groups: [db]}}
security_groups:
  web: {}
  db: {rules: {pg: {direction: ingress, protocol: tcp, ports: 5432, remote_group: web}}}
routers: {edge: {attach: [web, db]}}
"""
ALLOWED, REFUSED = "tcp 10.0.1.5:4000 > 10.0.2.7:5432", "tcp 10.0.1.5:4000 > 10.0.2.7:80"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "shop.yaml"
    path.write_text(DOCUMENT)
    return str(path)


@pytest.fixture
def shop(project: Project, file: str) -> Project:
    project.do("apply", "-f", file)
    return project


def test_a_trace_names_each_step_and_the_rule_that_decides(shop: Project) -> None:
    told = shop.do("trace", "--from", "web/web-1", ALLOWED).out
    assert "allowed by rule pg of group db" in told
    assert told.splitlines()[-1].startswith("delivered at port db/db-1: tcp 10.0.1.5:4000 > 10.0.2.7:5432")


def test_a_refused_packet_is_told_with_its_reason(shop: Project) -> None:
    trace = shop.do("trace", "--from", "web/web-1", REFUSED, "-o", "json").json()
    assert trace["drop"] == "security_group"
    assert trace["outputs"] == []


def test_offline_says_the_same_as_the_controller(shop: Project, file: str) -> None:
    def without_macs(text: str) -> list[str]:
        return [line for line in text.splitlines() if "02:" not in line]

    for packet in (ALLOWED, REFUSED):
        words = ("trace", "--from", "web/web-1", packet)
        assert without_macs(shop.do(*words).out) == without_macs(shop.do(*words, "--offline", file).out)
    words = ("reach", "web/web-1", "db/db-1")
    assert shop.do(*words).out == shop.do(*words, "--offline", file).out


def test_reach_lists_what_passes(shop: Project) -> None:
    assert shop.do("reach", "web-1", "db-1", "-o", "json").json()["passages"] == ["ipv4 tcp 5432"]
    assert shop.do("reach", "db-1", "web-1", "-o", "json").json()["passages"] == []


def test_a_capture_is_traced_packet_by_packet(shop: Project, file: str, tmp_path: Path) -> None:
    trace = shop.do("trace", "--from", "web-1", ALLOWED, "-o", "json").json()
    frame = bytes.fromhex(trace["outputs"][0]["frame"])  # as it arrives: a spoof, when web-1 sends it
    capture = tmp_path / "x.pcap"
    header = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    capture.write_bytes(header + 2 * (struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame))
    for more in ((), ("--offline", file)):
        told = shop.do("trace", "--from", "web-1", "--pcap", str(capture), *more).out
        assert told.count("dropped at port web/web-1: spoofed-mac") == 2


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        (("trace",), 2, "--from PORT"),
        (("trace", "--from", "web-1"), 2, "needs a packet"),
        (("trace", "--from", "web-1", "nonsense"), 1, "is no packet"),
        (("trace", "--from", "none", ALLOWED), 1, "there is no port 'none'"),
        (("trace", "--from", "edge/web", ALLOWED), 1, "no machine"),
        (("trace", "--from", "web-1", "--pcap", "/nowhere"), 1, "cannot read /nowhere"),
        (("reach", "web-1"), 2, "needs TARGET"),
        (("reach", "web-1", "none"), 1, "there is no port 'none'"),
    ],
)
def test_a_question_that_cannot_be_answered(
    shop: Project, file: str, line: tuple[str, ...], status: int, told: str
) -> None:
    for more in ((), ("--offline", file)):
        refused = shop.run(*line, *more)
        assert refused.status == status
        assert told in refused.err


def test_a_bad_document_is_told_with_its_line(project: Project, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(DOCUMENT.replace("10.0.2.7", "nonsense"))
    refused = project.run("trace", "--offline", str(tmp_path / "bad.yaml"), "--from", "web-1", ALLOWED)
    assert "bad.yaml:8: networks.db.ports.db-1.addresses[0].ip" in refused.err

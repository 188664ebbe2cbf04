"""How a controller may be started, before anything is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from onehop.controller.main import Refused, parser, settings_of
from onehop.controller.server import Settings


def settings(*options: str) -> Settings:
    return settings_of(parser().parse_args(["--state", "/nowhere", *options]))


def test_it_is_loopback_with_tls_and_a_file_unless_told_otherwise() -> None:
    made = settings()
    assert (made.host, made.port, made.insecure) == ("127.0.0.1", 9595, False)
    assert (made.store, made.directory) == ("sqlite:///nowhere/store.db", Path("/nowhere"))


@pytest.mark.parametrize(
    ("text", "host"), [("[::1]:1", "::1"), ("localhost:1", "127.0.0.1"), ("127.0.0.9:1", "127.0.0.9")]
)
def test_addresses_of_loopback_are_taken(text: str, host: str) -> None:
    assert settings("--listen", text, "--insecure-http").host == host


@pytest.mark.parametrize("text", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1"])
def test_an_address_that_others_reach_has_to_be_asked_for(text: str) -> None:
    with pytest.raises(Refused, match="--public"):
        settings("--listen", text)
    assert settings("--listen", text, "--public").host
    with pytest.raises(Refused, match="in the clear"):
        settings("--listen", text, "--public", "--insecure-http")


@pytest.mark.parametrize(
    "text", ["here", "example.org:1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", ":1"]
)
def test_what_is_no_address_and_port_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        settings("--listen", text)


def test_a_certificate_comes_with_its_key() -> None:
    with pytest.raises(Refused, match="--tls-key"):
        settings("--tls-cert", "cert.pem")

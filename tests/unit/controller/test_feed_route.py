"""Who is let in to the feed."""

from __future__ import annotations

import uuid

import pytest

from onehop.controller.auth import Secret, new_secret
from onehop.controller.routes.feed import host_of
from onehop.model import Host, Object, Role, Token
from onehop.model.view import Topology

HOST = Host(id=str(uuid.uuid4()), name="h1")
ID = str(uuid.uuid4())


@pytest.fixture
def secret() -> Secret:
    return new_secret(ID)


def view(secret: Secret, *roles: str) -> Topology:
    token = Token(id=ID, name="t", host=HOST.id, hash=secret.hash)
    given: list[Object] = [Role(id=str(uuid.uuid4()), name=f"r-{r}", token=ID, role=r) for r in roles]  # type: ignore[arg-type]
    return Topology([HOST, token, *given])


def test_a_credential_with_the_role_of_hosts_is_its_host(secret: Secret) -> None:
    assert host_of(f"Bearer {secret.text}", view(secret, "host")) == HOST.id


def test_a_credential_without_a_role_is_no_host(secret: Secret) -> None:
    assert host_of(f"Bearer {secret.text}", view(secret)) is None


def test_a_reader_is_no_host_even_with_a_credential_of_one(secret: Secret) -> None:
    assert host_of(f"Bearer {secret.text}", view(secret, "reader")) is None


def test_nobody_is_no_host(secret: Secret) -> None:
    assert host_of(None, view(secret, "host")) is None
    assert host_of("Bearer onehop_nonsense", view(secret, "host")) is None

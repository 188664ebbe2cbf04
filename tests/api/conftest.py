"""One controller for the tests that do no harm to it, and a project for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.support.controller import Api, Controller, Json
from tests.support.etcd import etcd_for_tests

etcd = pytest.fixture(scope="session")(etcd_for_tests)
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def controller() -> Iterator[Controller]:
    with Controller(options=["--insecure-http"]) as controller:
        yield controller
        log = controller.log.read_text()
        assert '"level": "error"' not in log, log[-5000:]


@pytest.fixture(scope="session")
def admin(controller: Controller) -> Api:
    return controller.api()


@pytest.fixture
def project(admin: Api) -> Json:
    return admin.create("projects", name=f"p{next(_numbers)}")


@pytest.fixture
def api(controller: Controller, project: Json) -> Api:
    """The administrator, in a project of the test's own."""
    return controller.api(project=project["name"])

"""Real controllers for tests: a process each, on loopback, with a state directory that goes away.

with Controller() as controller:            # SQLite, no TLS
    api = controller.api()                  # as the administrator
    network = api.create("networks", name="web")
"""

from __future__ import annotations

import itertools
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

START = 60.0  # seconds that a controller may take to listen

Json = dict[str, Any]


class Controller:
    """A controller as operators run it. It can be killed, and started again on the same state."""

    def __init__(
        self, store: str | None = None, *, directory: Path | None = None, options: Sequence[str] = ()
    ) -> None:
        self._owned = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="onehop-controller-"))
        self._options = [*options]
        self._store = store
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self._clients: list[Api] = []

    def __enter__(self) -> Controller:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        self.kill()
        if self._owned:
            shutil.rmtree(self.directory, ignore_errors=True)

    # --- its life -------------------------------------------------------------------------------------

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it without waiting for it to listen."""
        command = [sys.executable, "-m", "onehop.controller.main", "--state", str(self.directory)]
        command += ["--listen", "127.0.0.1:0", "--log-format", "json", *self._options]
        if self._store is not None:
            command += ["--store", self._store]
        with self.output.open("wb") as output, self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=output, stderr=log)
        return self.process

    def start(self) -> None:
        process = self.spawn()
        until = time.monotonic() + START
        while time.monotonic() < until and process.poll() is None:
            first = self.output.read_text().partition("\n")
            if first[1]:
                self.url = first[0].split()[-1]
                return
            time.sleep(0.02)
        raise RuntimeError(f"the controller did not start:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """As if the power went: SIGKILL."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def end(self, seconds: float = 20.0) -> int:
        """SIGTERM; its exit status."""
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(seconds)
        finally:
            process.kill()
            process.wait()

    def hang_up(self) -> None:
        """Close all clients' connections."""
        while self._clients:
            self._clients.pop().http.close()

    # --- what it leaves -------------------------------------------------------------------------------

    @property
    def output(self) -> Path:
        return self.directory / "output"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def admin_token(self) -> str:
        return (self.directory / "admin-token").read_text().strip()

    def api(self, token: str | None = None, *, project: str | None = None) -> Api:
        """A client; as the administrator, unless another token is given."""
        ca = self.directory / "ca.pem"
        client = Api(self.url, token or self.admin_token, ca if ca.exists() else None, project)
        self._clients.append(client)
        return client


class Refused(Exception):
    """The API's refusal."""

    def __init__(self, reply: httpx.Response) -> None:
        self.status = reply.status_code
        self.error: Json = reply.json()["error"]
        self.code: str = self.error["code"]
        self.fields = [problem["field"] for problem in self.error["problems"]]
        super().__init__(f"{self.status} {self.error}")


class Api:
    """A small client: one method per verb, replies as JSON, refusals as exceptions."""

    def __init__(self, url: str, token: str | None, ca: Path | None, project: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        trust = ssl.create_default_context(cafile=str(ca) if ca else None)
        self.http = httpx.Client(base_url=url, headers=headers, timeout=30, verify=trust)
        self._project = project

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One request; whatever the reply is."""
        parameters = dict(options.pop("params", {}))
        if self._project and "project" not in parameters and _takes_project(path):
            parameters["project"] = self._project
        if body is not None:
            options["json"] = body
        return self.http.request(method, path, params=parameters, **options)

    def told(self, method: str, path: str, body: Any = None, **options: Any) -> Json:
        """One request that is not refused; the body of the reply."""
        reply = self.call(method, path, body, **options)
        if reply.status_code >= 400:
            raise Refused(reply)
        found: Json = reply.json()
        return found

    def create(self, plural: str, **fields: Any) -> Json:
        return self.told("POST", f"/v1/{plural}", fields)

    def get(self, plural: str, ref: str, **parameters: Any) -> Json:
        return self.told("GET", f"/v1/{plural}/{ref}", params=parameters)

    def list(self, plural: str, **parameters: Any) -> list[Json]:
        items: list[Json] = self.told("GET", f"/v1/{plural}", params=parameters)["items"]
        return items

    def patch(self, plural: str, ref: str, **fields: Any) -> Json:
        return self.told("PATCH", f"/v1/{plural}/{ref}", fields)

    def replace(self, plural: str, ref: str, **fields: Any) -> Json:
        return self.told("PUT", f"/v1/{plural}/{ref}", fields)

    def delete(self, plural: str, ref: str) -> Json:
        return self.told("DELETE", f"/v1/{plural}/{ref}")

    def bulk(self, *operations: Json) -> Json:
        return self.told("POST", "/v1/bulk", {"operations": list(operations)})


def _takes_project(path: str) -> bool:
    return path.startswith("/v1/") and path not in ("/v1/hosts/join", "/v1/whoami", "/v1/health")


_numbers = itertools.count(1)


def someone(controller: Controller, **roles: str) -> Api:
    """A caller with roles in projects: `someone(controller, p1="member")`."""
    admin = controller.api()
    token = admin.create("tokens", name=f"someone-{next(_numbers)}")
    for project, role in roles.items():
        admin.create("roles", token=token["id"], project=project, role=role)
    return controller.api(token["secret"])

"""`onehop controller backup` and `restore`, as an operator types them, with real controllers."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from tests.support.controller import Api, Controller

PATIENCE = 30


def keep(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "onehop.controller.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def done(*words: str | Path) -> str:
    run = keep(*words)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


class Writer:
    """Makes networks of one subnet each, one after the other, until it is stopped."""

    def __init__(self, api: Api) -> None:
        self.made: list[str] = []
        self.some = threading.Event()
        self._api = api
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._stopped.is_set():
            name = f"n{len(self.made)}"
            subnet = {"name": "v4", "network": name, "cidr": "10.0.0.0/24"}
            self._api.bulk(
                {"op": "create", "kind": "network", "body": {"name": name}},
                {"op": "create", "kind": "subnet", "body": subnet},
            )
            self.made.append(name)
            if len(self.made) > 20:
                self.some.set()


def test_a_backup_taken_while_writes_go_on_is_whole_and_becomes_a_controllers_store(tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    with Controller(options=["--insecure-http"]) as first, Writer(first.api(project="default")) as writer:
        assert writer.some.wait(PATIENCE)
        before = list(writer.made)
        told = done("backup", backup, "--state", first.directory)
        written = len(writer.made)
        assert str(backup) in told
        second = tmp_path / "second"
        second.mkdir()
        (second / "admin-token").write_text(first.admin_token + "\n")
        done("restore", backup, "--state", second)
    assert len(before) <= written
    with Controller(directory=second, options=["--insecure-http"]) as again:
        api = again.api(project="default")
        networks = {network["id"]: network["name"] for network in api.list("networks", limit=1000)}
        assert set(before) <= set(networks.values())
        subnets = [subnet["network"] for subnet in api.list("subnets", limit=1000)]
        assert sorted(subnets) == sorted(networks)


def test_a_restored_controller_goes_on_from_the_backup(tmp_path: Path) -> None:
    with Controller(options=["--insecure-http"]) as controller:
        controller.api(project="default").create("networks", name="before")
        done("backup", tmp_path / "backup.db", "--state", controller.directory)
        controller.api(project="default").create("networks", name="after")
        refused = keep("restore", tmp_path / "backup.db", "--state", controller.directory)
        assert refused.returncode == 1
        assert "in use by process" in refused.stderr
        controller.hang_up()
        assert controller.end() == 0
        assert "store.db.replaced-" in done(
            "restore", tmp_path / "backup.db", "--state", controller.directory
        )
        controller.start()
        api = controller.api(project="default")
        assert [network["name"] for network in api.list("networks")] == ["before"]
        api.create("networks", name="later")


def test_an_etcd_store_is_left_to_its_own_tools(tmp_path: Path) -> None:
    for command in ("backup", "restore"):
        refused = keep(command, tmp_path / "file", "--store", "etcd://127.0.0.1:1")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "etcdctl snapshot" in refused.stderr


def test_a_store_can_be_marked_as_restored(tmp_path: Path) -> None:
    assert "no store at" in keep("mark-restored", "--state", tmp_path).stderr
    with Controller(directory=tmp_path, options=["--insecure-http"]) as controller:
        assert controller.end() == 0
    assert done("mark-restored", "--state", tmp_path).startswith("Marked")

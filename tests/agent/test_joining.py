"""How a host gets in, and how one that may not is told."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from onehop.lab.lab import Lab


def start(lab: Lab, state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """An agent on a folder of its own that is not to get as far as forwarding."""
    process = lab.fabric.ledger.processes["agent-h1"]
    argv = list(process.argv)
    if "--join-token-file" in argv:  # at its first start only
        del argv[argv.index("--join-token-file") :]
    argv[argv.index("--state") + 1] = str(state)
    argv[argv.index("--bpffs") + 1] = str(state / "bpf")
    with lab.place("h1").entered():
        return subprocess.run([*argv, *options], capture_output=True, text=True, timeout=30, check=False)


def test_a_host_that_has_not_joined_is_told_how(lab: Lab, tmp_path: Path) -> None:
    ended = start(lab, tmp_path)
    assert ended.returncode == 1
    assert "this host has not joined yet" in ended.stderr
    assert "--join-token-file" in ended.stderr


def test_a_token_works_once(lab: Lab, tmp_path: Path) -> None:
    used = lab.fabric.ledger.sub("hosts/h1") / "join-token"
    ended = start(lab, tmp_path, "--join-token-file", str(used))
    assert ended.returncode == 1
    assert "refuses to let this host join: the join token is not known" in ended.stderr
    assert used.read_text() not in ended.stderr


def test_a_controller_with_another_ca_is_not_believed(lab: Lab, tmp_path: Path) -> None:
    used = lab.fabric.ledger.sub("hosts/h1") / "join-token"
    ended = start(lab, tmp_path, "--join-token-file", str(used), "--ca", "/etc/ssl/certs/ca-certificates.crt")
    assert ended.returncode == 1
    assert "certificate verify failed" in ended.stderr


def test_the_credential_is_for_its_owner_alone(lab: Lab) -> None:
    path = lab.fabric.ledger.sub("hosts/h1") / "credential.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("agent-h1", "agent-h2"):
        assert "onehop_" not in lab.fabric.log(name).read_text()

"""Tutorials do what they say: its commands are run in one shell, their output is what is printed there.

In the printed output `...` stands for anything: within a line, or, alone, for any number of lines.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
MARK = "=== end of block ==="
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    """Each block of commands, with the output printed after it (empty, if there is none)."""
    found: list[tuple[str, str]] = []
    for kind, content in BLOCK.findall(text):
        if kind == "sh":
            found.append((content, ""))
        else:
            found[-1] = (found[-1][0], content)
    return found


def pattern(expected: str) -> re.Pattern[str]:
    """Blanks in a row count as one: columns are as wide as what they hold."""
    lines = []
    for line in expected.splitlines():
        if line.strip() == "...":
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            parts = [re.escape(" ".join(part.split())) for part in line.split("...")]
            lines.append(r" *[^\n]*? *".join(parts) + r" *\n")
    return re.compile("".join(lines))


def squeezed(output: str) -> str:
    return "".join(" ".join(line.split()) + "\n" for line in output.splitlines())


@pytest.mark.parametrize("name", ["tutorial", "outside"])
def test_it_can_be_followed(name: str, tmp_path: Path) -> None:
    steps = blocks((DOCS / f"{name}.md").read_text())
    script = "set -eo pipefail\n" + "".join(f"{commands}echo {MARK!r}\n" for commands, _ in steps)
    script = script.replace("onehop controller ", "onehop controller --listen 127.0.0.1:0 ")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONEHOP_")}
    environ = {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
    with (tmp_path / "output").open("w+") as output:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(90)
        finally:
            with_rest(shell)
        output.seek(0)
        text = output.read()
    assert status == 0, text
    printed = text.split(f"{MARK}\n")
    for (commands, expected), told in zip(steps, printed, strict=False):
        if expected:
            assert pattern(expected).search(squeezed(told)), f"{commands}\nprinted:\n{told}\nnot:\n{expected}"


def with_rest(shell: subprocess.Popen[bytes]) -> None:
    """End whatever of the shell's session is still running: a controller, if the tutorial failed."""
    try:
        os.killpg(shell.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    shell.wait(10)

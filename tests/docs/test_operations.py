"""The operator's guide and the units say what the programs understand."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from onehop.agent import main as agent
from onehop.cli.entry import find
from onehop.cli.parser import parse
from onehop.controller import main as controller
from onehop.model.identity import RoleName

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "operations.md").read_text()
PROGRAMS = {"controller": controller.parser, "agent": agent._parser}


def commands() -> list[str]:
    """Every `onehop ...` in a block of commands, without where its output goes."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [line for line in lines if line.startswith("onehop ")]


def understood(words: list[str]) -> None:
    if words[0] in PROGRAMS:
        parser: argparse.ArgumentParser = PROGRAMS[words[0]]()
        parser.parse_args(words[1:])
        return
    parse(*find(words))


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_guide_is_understood(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    understood(words[: words.index(">")] if ">" in words else words)


@pytest.mark.parametrize("unit", ["onehop-controller", "onehop-agent"])
def test_a_unit_starts_a_program_as_it_is_started(unit: str) -> None:
    text = (ROOT / "packaging" / "systemd" / f"{unit}.service").read_text()
    (command,) = re.findall(r"^ExecStart=/opt/onehop/bin/onehop (.*)$", text, re.MULTILINE)
    (options,) = re.findall(r"^#   OPTIONS=(.*)$", text, re.MULTILINE)
    understood(shlex.split(command.replace("$OPTIONS", options)))


def test_the_guide_tells_of_every_role() -> None:
    for role in get_args(RoleName):
        assert f"| `{role}` |" in GUIDE

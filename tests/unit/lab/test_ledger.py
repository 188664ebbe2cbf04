from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onehop.lab.ledger import Ledger, Process, names, start_time
from onehop.lab.spec import LabError


def test_a_ledger_tells_what_was_made_also_to_another_process(tmp_path: Path) -> None:
    ledger = Ledger.create("shop", tmp_path)
    ledger.namespaces.append("shop-h1")
    ledger.facts["doors"] = {"c1": 4711}
    ledger.processes["c1"] = Process("c1", 1, 2, ("x",), "shop-c1")
    ledger.save()
    again = Ledger.open("shop", tmp_path)
    assert (again.namespaces, again.facts, again.processes) == (
        ledger.namespaces,
        ledger.facts,
        ledger.processes,
    )
    again.remove()
    assert list(names(tmp_path)) == []


def test_a_name_can_be_taken_once(tmp_path: Path) -> None:
    Ledger.create("shop", tmp_path)
    with pytest.raises(LabError, match="onehop lab down shop"):
        Ledger.create("shop", tmp_path)


def test_a_missing_lab_is_told_with_those_there_are(tmp_path: Path) -> None:
    Ledger.create("shop", tmp_path)
    with pytest.raises(LabError, match="there is no lab 'bar'; there are: shop"):
        Ledger.open("bar", tmp_path)


def test_a_later_process_with_the_same_pid_is_left_alone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        started = start_time(child.pid)
        assert started is not None
        assert Process("other", child.pid, started - 1, (), "x").is_running is False
        Process("other", child.pid, started - 1, (), "x").stop()
        mine = Process("mine", child.pid, started, (), "x")
        assert mine.is_running
        mine.stop()
        assert not mine.is_running
    finally:
        child.kill()
        child.communicate()

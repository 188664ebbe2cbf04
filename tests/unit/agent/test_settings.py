from __future__ import annotations

import os
from pathlib import Path

import pytest

from onehop.agent.main import main
from onehop.agent.settings import Refused, Settings
from onehop.agent.state import Lock, load_numbers, save_numbers
from onehop.compiler.ids import Assignment


@pytest.mark.parametrize("url", ["ftp://c1", "c1:9595", "https://", "https://c1/x", "http://192.0.2.1:9595"])
def test_a_controller_that_cannot_be_one_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--controller", url]) == 1
    assert url in capsys.readouterr().err


def test_help_says_what_to_do_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert "onehop host join-token" in said
    assert "does not end forwarding" in said


def test_the_feed_is_where_the_controller_is() -> None:
    settings = Settings(Path("/s"), Path("/b"), ("https://c1:1/", "http://[::1]:2"))
    assert settings.feeds == ("wss://c1:1/v1/feed", "ws://[::1]:2/v1/feed")


def test_a_folder_has_one_agent_at_a_time(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    with pytest.raises(Refused, match=f"process {os.getpid()}"):
        Lock(tmp_path)
    lock.release()
    Lock(tmp_path).release()


def test_numbers_survive(tmp_path: Path) -> None:
    assert load_numbers(tmp_path) is None
    numbers = Assignment({"zones": {"n1": 4}}, {"zones": 5})
    save_numbers(tmp_path, numbers)
    assert load_numbers(tmp_path) == numbers


def test_numbers_that_cannot_be_read_are_given_out_anew(tmp_path: Path) -> None:
    (tmp_path / "numbers").write_bytes(b"\xc1")
    assert load_numbers(tmp_path) is None

"""Which controller, and as whom."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from onehop.client.contexts import Context, ContextError, Contexts, default_path, load, save, select

LOCAL = Context("https://127.0.0.1:9595", token="t1", project="demo")
LAB = Context("https://10.0.0.1:9595", ca_file="/ca.pem", token_file="/token")
BOTH = Contexts({"local": LOCAL, "lab": LAB}, "local")


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    save(tmp_path / "deep" / "contexts.json", BOTH)
    assert load(tmp_path / "deep" / "contexts.json") == BOTH


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    save(tmp_path / "contexts.json", BOTH)
    assert stat.S_IMODE((tmp_path / "contexts.json").stat().st_mode) == 0o600


def test_no_file_is_no_contexts(tmp_path: Path) -> None:
    assert load(tmp_path / "none") == Contexts({})


@pytest.mark.parametrize("text", ["", "[]", "{", '{"contexts": []}', '{"contexts": {"a": {}}}', "[" * 99999])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(ContextError, match="onehop login"):
        load(tmp_path / "f")


def test_the_current_context_is_used() -> None:
    assert select(BOTH, {}) == LOCAL


def test_a_context_can_be_named() -> None:
    assert select(BOTH, {"ONEHOP_CONTEXT": "lab"}) == LAB
    assert select(BOTH, {"ONEHOP_CONTEXT": "local"}, "lab") == LAB


def test_the_environment_has_the_last_word() -> None:
    environ = {"ONEHOP_TOKEN": "t2", "ONEHOP_PROJECT": "other", "ONEHOP_CA": "/x"}
    assert select(BOTH, environ) == Context(LOCAL.url, ca_file="/x", token="t2", project="other")


def test_the_environment_alone_is_enough() -> None:
    environ = {"ONEHOP_URL": "https://c", "ONEHOP_TOKEN_FILE": "/t"}
    assert select(Contexts({}), environ) == Context("https://c", token_file="/t")


def test_a_token_is_never_sent_to_another_controller() -> None:
    assert select(BOTH, {"ONEHOP_URL": "https://elsewhere"}).secret() is None
    assert select(BOTH, {"ONEHOP_URL": "https://elsewhere", "ONEHOP_CONTEXT": "local"}).secret() is None


def test_without_any_context_the_way_out_is_told() -> None:
    with pytest.raises(ContextError, match="onehop login"):
        select(Contexts({}), {})


def test_an_unknown_context_is_told_with_those_that_are_known() -> None:
    with pytest.raises(ContextError, match="lab, local"):
        select(BOTH, {}, "prod")


def test_a_token_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    assert Context("https://c", token_file=str(tmp_path / "token")).secret() == "secret"


def test_where_the_file_is() -> None:
    assert default_path({"HOME": "/home/a"}) == Path("/home/a/.config/onehop/contexts.json")
    assert default_path({"HOME": "/home/a", "XDG_CONFIG_HOME": "/x"}) == Path("/x/onehop/contexts.json")
    assert default_path({"ONEHOP_CONFIG": "/f"}) == Path("/f")

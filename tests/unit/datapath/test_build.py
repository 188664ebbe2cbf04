"""Compiling the eBPF programs: when, with what, and what is said when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from onehop.datapath import build

PROGRAM = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "answer.h"
SEC("tc") int entry(struct __sk_buff *skb) { return ANSWER; }
char _license[] SEC("license") = "GPL";
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "bpf"
    folder.mkdir()
    (folder / "small.bpf.c").write_text(PROGRAM)
    (folder / "answer.h").write_text("#define ANSWER 0\n")
    return folder


def fake_clang(folder: Path, version: int) -> None:
    path = folder / "clang"
    path.write_text(f"#!/bin/sh\necho 'Debian clang version {version}.0.6'\n")
    path.chmod(0o755)


def test_an_object_is_compiled_once_per_content(sources: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    first = build.object_path("small", sources, built)
    stamp = first.stat().st_mtime_ns
    assert build.object_path("small", sources, built) == first
    assert first.stat().st_mtime_ns == stamp

    (sources / "answer.h").write_text("#define ANSWER 2\n")
    second = build.object_path("small", sources, built)
    assert second != first
    assert list(built.iterdir()) == [second]


def test_the_object_keeps_btf_and_loses_dwarf(sources: Path, tmp_path: Path) -> None:
    content = build.object_path("small", sources, tmp_path / "built").read_bytes()
    assert b".BTF.ext" in content
    assert b".debug_info" not in content


def test_a_warning_stops_the_build_and_leaves_nothing(sources: Path, tmp_path: Path) -> None:
    (sources / "answer.h").write_text("#define ANSWER undeclared()\n")
    with pytest.raises(build.BuildError, match="undeclared"):
        build.object_path("small", sources, tmp_path / "built")
    assert list((tmp_path / "built").iterdir()) == []


def test_a_current_object_needs_no_compiler(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build.object_path("small", sources, tmp_path / "built")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.object_path("small", sources, tmp_path / "built") == path


def test_an_old_clang_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_clang(tmp_path, 14)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"clang is 14: .*apt-get install clang-19"):
        build.clang()


def test_an_unversioned_clang_that_is_new_enough_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_clang(tmp_path, 16)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.clang() == str(tmp_path / "clang")


def test_a_program_that_does_not_exist_is_named(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="no eBPF program absent"):
        build.object_path("absent", sources, tmp_path / "built")

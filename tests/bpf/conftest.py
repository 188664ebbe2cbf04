"""Compiled sample programs, a BPF filesystem and namespaces for one test. These tests need root."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onehop.datapath import build, pins, programs
from onehop.datapath.headers import layouts_header
from onehop.datapath.object import Object, load_object
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace
from tests.bpf.sample import LAYOUTS
from tests.bpf.world import SIZES, UNDERLAY, A, B, C, World

PROGRAMS = Path(__file__).parent / "programs"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The object of a program under `programs/`, against headers generated from `sample`."""
    folder = tmp_path_factory.mktemp("objects")
    (folder / "sample_layouts.h").write_text(layouts_header(LAYOUTS))

    def compile_once(name: str) -> Path:
        target = folder / f"{name}.bpf.o"
        if not target.exists():
            build.compile_program(PROGRAMS / f"{name}.bpf.c", target, [folder])
        return target

    return compile_once


@pytest.fixture
def sampler(compiled: Callable[[str], Path]) -> Iterator[Object]:
    with load_object(compiled("sampler")) as loaded:
        yield loaded


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "bpf"
    pins.mount_bpffs(folder)
    yield folder
    pins.unmount_bpffs(folder)


@pytest.fixture
def namespaces() -> Iterator[tuple[Namespace, Namespace]]:
    """Two new, empty ones."""
    names = [f"t{os.getpid()}-{next(_numbers)}" for _ in range(2)]
    with Namespace(names[0]).create() as one, Namespace(names[1]).create() as other:
        yield one, other


# --- the datapath's own programs ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def plugged() -> Iterator[tuple[Namespace, World]]:
    """The programs, loaded once in a namespace of their own; machines a, b and c are here."""
    with Namespace(f"t{os.getpid()}-datapath").create() as here, Links(here) as links:
        interfaces = {}
        for key in (A, B, C, UNDERLAY):
            links.veth(f"p{key}", None, f"q{key}")
            interfaces[key] = links.index(f"p{key}")
        links.veth("inject", None, "tcejni")
        config = {"explain": 1, "inject_ifindex": links.index("inject")}
        with contextlib.ExitStack() as stack:
            # Only for loading: the tests of other folders that come after these are to be where they began.
            with here.entered():
                datapath = stack.enter_context(programs.load(config=config, sizes=SIZES))
            yield here, World(datapath, interfaces)
            with here.entered():
                stack.close()


@pytest.fixture
def world(plugged: tuple[Namespace, World]) -> Iterator[World]:
    """The world as it begins, with nothing learned."""
    here, world = plugged
    with here.entered():
        world.build()
        yield world

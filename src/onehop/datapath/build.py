"""Compiles the eBPF programs, once per content.

`bpf/NAME.bpf.c` becomes `built/NAME-DIGEST.bpf.o`, where the digest covers every source and header and
the flags: an object is either there and current, or not there. Wheels and source distributions
carry the objects, so that installing needs no clang; a checkout builds them when they are first asked for.

Only the standard library is used, because the build hook runs this before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["BuildError", "build_all", "clang", "compile_program", "object_path"]

PACKAGE = Path(__file__).parent
SOURCES = PACKAGE / "bpf"
BUILT = PACKAGE / "built"
FLAGS = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror")

PREFERRED = ("clang-19", "clang-20", "clang-21", "clang-18", "clang-17", "clang-16", "clang")
OLDEST = 16


class BuildError(RuntimeError):
    """A program could not be compiled; the text says why and what to do."""


def object_path(name: str, sources: Path = SOURCES, built: Path = BUILT) -> Path:
    """The compiled object of `NAME.bpf.c`, compiled now if it is not there."""
    source = sources / f"{name}.bpf.c"
    if not source.is_file():
        raise BuildError(f"there is no eBPF program {name}: {source} is missing")
    path = built / f"{name}-{_digest(source, [sources])}.bpf.o"
    if not path.exists():
        compile_program(source, path, [sources])
        _remove_older(path, name)
    return path


def build_all(sources: Path = SOURCES, built: Path = BUILT) -> list[Path]:
    """Every program under `bpf/`, as current objects."""
    names = sorted(source.name.removesuffix(".bpf.c") for source in sources.glob("*.bpf.c"))
    return [object_path(name, sources, built) for name in names]


def compile_program(source: Path, target: Path, include: Sequence[Path] = ()) -> None:
    """Compile one program. The target appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=target.parent, suffix=".part")
    os.close(handle)
    try:
        compiler = clang()
        includes = [f"-I{path}" for path in [*include, *_kernel_headers()]]
        _run([compiler, *FLAGS, *includes, "-c", str(source), "-o", scratch])
        _run([_strip_tool(compiler), "-g", scratch])  # drops DWARF, keeps BTF
        Path(scratch).chmod(0o644)
        Path(scratch).replace(target)
    finally:
        Path(scratch).unlink(missing_ok=True)


def clang() -> str:
    """A clang that compiles eBPF rightly."""
    too_old = []
    for name in PREFERRED:
        path = shutil.which(name)
        if path is None:
            continue
        version = _version(path)
        if version >= OLDEST:
            return path
        too_old.append(f"{path} is {version}")
    found = f" ({'; '.join(too_old)}: before 16, undeclared functions and memcmp silently become externs)"
    raise BuildError(
        f"no clang of version {OLDEST} or later was found{found if too_old else ''}; "
        "install one with: apt-get install clang-19 llvm-19"
    )


def _version(compiler: str) -> int:
    text = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"version (\d+)", text)
    return int(match.group(1)) if match else 0


def _strip_tool(compiler: str) -> str:
    suffix = re.search(r"-\d+$", compiler)
    for name in (f"llvm-strip{suffix.group()}" if suffix else "llvm-strip", "llvm-strip"):
        path = shutil.which(name)
        if path is not None:
            return path
    raise BuildError("llvm-strip was not found; install it with: apt-get install llvm-19")


def _kernel_headers() -> list[Path]:
    """`-target bpf` forgets the machine's own <asm/...>, which Debian keeps in a folder per architecture."""
    return [path for path in [Path(f"/usr/include/{platform.machine()}-linux-gnu")] if path.is_dir()]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stderr.strip()}")


def _digest(source: Path, include: Sequence[Path]) -> str:
    """Names a program's content: its source, every header it could include, and the flags."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in [source, *sorted(header for folder in include for header in folder.rglob("*.h"))]:
        content = path.read_bytes()
        digest.update(f"\n{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _remove_older(current: Path, name: str) -> None:
    for path in current.parent.glob(f"{name}-*.bpf.o"):
        if path != current and re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{16}}\.bpf\.o", path.name):
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        for built in build_all():
            print(built)
    except BuildError as error:
        sys.exit(str(error))

"""What the datapath costs beside a cable, plain routing, and a bridge with VXLAN and conntrack.

`python -m bench.datapath [--quick]`, as root. All paths are set up together; each round measures every test
on every path, and every second round goes through the paths backwards. Ratios are taken within a round, then
their median: that way a machine that gets slower or faster meanwhile changes little.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from bench import report
from bench.datapath import measure, paths
from bench.datapath.onehop import onehop

# Figure -> test, path, and the path that it is compared with.
RATIOS = {
    "stream_vs_raw": ("stream", "onehop", "raw"),
    "stream_nogso_vs_raw": ("stream_nogso", "onehop", "raw"),
    "stream_vs_routed": ("stream", "onehop", "routed"),
    "stream_nogso_vs_routed": ("stream_nogso", "onehop", "routed"),
    "pps_vs_raw": ("pps", "onehop", "raw"),
    "pps_vs_routed": ("pps", "onehop", "routed"),
    "rr_vs_routed": ("rr", "onehop", "routed"),
    "crr_vs_routed": ("crr", "onehop", "routed"),
    "crr_vs_raw": ("crr", "onehop", "raw"),
    "pps_vs_bridge": ("pps", "onehop", "bridge"),
    "crr_vs_bridge": ("crr", "onehop", "bridge"),
}
Results = Mapping[tuple[str, str], Sequence[float]]  # by test and path, one for each round


@dataclass(frozen=True, slots=True)
class Ready:
    path: paths.Path
    forget: Callable[[], None] = lambda: None


@contextlib.contextmanager
def all_paths() -> Iterator[dict[str, Ready]]:
    with contextlib.ExitStack() as stack:
        ready = {"raw": Ready(stack.enter_context(paths.raw()))}
        for prefix, local in (("", False), ("local_", True)):
            for kind, build in (("routed", paths.routed), ("bridge", paths.bridged)):
                name = prefix + kind
                ready[name] = Ready(stack.enter_context(build(name, local=local)))
            running = stack.enter_context(onehop(f"{prefix}onehop", local=local))
            ready[f"{prefix}onehop"] = Ready(running.path, running.forget)
        yield ready


def measure_all(load: measure.Load, ready: Mapping[str, Ready], rounds: int, tests: Sequence[str]) -> Results:
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for test in tests:
            for name in list(ready)[:: -1 if number % 2 else 1]:
                ready[name].forget()
                found.setdefault((test, name), []).append(measure.TESTS[test](load, ready[name].path))
        print(f"  round {number + 1} of {rounds} done, load average {os.getloadavg()[0]:.1f}", flush=True)
    return found


def figures(found: Results) -> dict[str, float]:
    result: dict[str, float] = {}
    for prefix in ("", "local_"):
        for figure, (test, path, other) in RATIOS.items():
            ours = found.get((test, prefix + path))
            theirs = found.get((test, other if other == "raw" else prefix + other))
            if ours and theirs:
                ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
                result[prefix + figure] = statistics.median(ratios)
        if ours := found.get(("first", f"{prefix}onehop")):
            result[f"{prefix}first_packet_us"] = statistics.median(ours)
    return result


def show_values(found: Results, ready: Mapping[str, Ready], tests: Sequence[str]) -> None:
    units = {"stream": 1e9, "stream_nogso": 1e9, "pps": 1e3, "rr": 1e3, "crr": 1e3, "first": 1}
    print(f"  {'medians':<16}" + "".join(f"{name:>14}" for name in ready))
    for test in tests:
        values = (statistics.median(found[test, name]) / units[test] for name in ready)
        print(f"  {test:<16}" + "".join(f"{value:>14.2f}" for value in values))
    print("  streams in Gbit/s; pps, rr, crr in thousands per second; first in us\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.datapath", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a figure")
    parser.add_argument("--rounds", type=int, help="how many (default: 20, or 1)")
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 0.3)")
    parser.add_argument("--paths", default="", help="only these, separated by commas")
    parser.add_argument("--tests", default=",".join(measure.TESTS), help="only these, separated by commas")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    if os.geteuid():
        print("namespaces and eBPF programs need root: run this as root", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    rounds = asked.rounds or (1 if asked.quick else 20)
    load = measure.Load(measure.build(), asked.seconds or 0.3)
    tests = asked.tests.split(",")
    start = time.monotonic()
    print(f"The datapath ({report.machine()}; TCP with cubic, segments of 1400 bytes; one core)")
    before = os.getloadavg()[0]
    if before > 1:
        print("  the machine is busy with something else: figures may waver", flush=True)
    with all_paths() as ready:
        wanted = {name: ready[name] for name in (asked.paths.split(",") if asked.paths else ready)}
        found = measure_all(load, wanted, rounds, tests)
    show_values(found, wanted, tests)
    result = figures(found)
    if result:
        report.show(result, {})
    print(f"  rounds: {rounds}, of {load.seconds} s for each; {time.monotonic() - start:.0f} s in all")
    if not asked.quick and not asked.paths and tests == list(measure.TESTS):
        report.write("datapath", {**result, "load_average_before": before, "rounds": rounds})
    return 0


if __name__ == "__main__":
    sys.exit(main())

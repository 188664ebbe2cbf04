"""What translation costs beside Onehop's own routing without it, and beside nft's masquerade.

`python -m bench.nat [--quick]`, as root. Connections and streams are measured as in the datapath's bench: all
paths set up together, rounds that go through them forwards and backwards, ratios within a round, then their
median. Onehop's paths cross the same devices, hosts and wires; they differ in the translation alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from bench import report
from bench.datapath import measure
from bench.datapath.__main__ import Ready, Results, measure_all
from bench.datapath.onehop import Running
from bench.nat import blocks, memory, ways

TESTS = ("crr", "stream")
# Figure -> test, path, and the path that it is compared with.
RATIOS = {
    "masquerade_crr_vs_own_routed": ("crr", "masquerade", "routed"),
    "masquerade_stream_vs_own_routed": ("stream", "masquerade", "routed"),
    "fip_crr_vs_own_routed": ("crr", "fip", "routed"),
    "fip_stream_vs_own_routed": ("stream", "fip", "routed"),
    "fip_in_crr_vs_own_routed": ("crr", "fip_in", "routed_in"),
    "fip_in_stream_vs_own_routed": ("stream", "fip_in", "routed_in"),
    "masquerade_crr_vs_nft": ("crr", "masquerade", "nft"),
    "masquerade_stream_vs_nft": ("stream", "masquerade", "nft"),
}


UNITS = {
    "mib_per_million_connections": "MiB in all hosts' kernels, through masquerade",
    "block_assign_ms_p50": "ms from a request to bind a port until its host has its block, 20 hosts",
    "block_assign_ms_p99": "ms",
}


@dataclass(frozen=True, slots=True)
class AllPaths:
    ready: dict[str, Ready]
    running: Running  # Onehop's hosts, where the gateway is another than the machines'


@contextlib.contextmanager
def all_paths() -> Iterator[AllPaths]:
    with contextlib.ExitStack() as stack:
        ready: dict[str, Ready] = {}
        hosts = []
        for prefix, local in (("", False), ("local_", True)):
            running, paths = stack.enter_context(ways.onehop(prefix, local=local))
            hosts.append(running)
            ready |= {name: Ready(path, running.forget) for name, path in paths.items()}
            nft = stack.enter_context(ways.nft(f"{prefix}nft", local=local))
            ready[nft.name] = Ready(nft)
        yield AllPaths(ready, hosts[0])


def ratios(found: Results) -> dict[str, float]:
    result = {}
    for prefix in ("", "local_"):
        for figure, (test, path, other) in RATIOS.items():
            pairs = zip(found[test, prefix + path], found[test, prefix + other], strict=True)
            result[prefix + figure] = statistics.median(ours / theirs for ours, theirs in pairs)
    return result


def show_values(found: Results) -> None:
    for test, unit, by in (("crr", "thousand connections/s", 1e3), ("stream", "Gbit/s", 1e9)):
        print(f"  {test}, medians in {unit}")
        for (measured, path), values in found.items():
            if measured == test:
                print(f"    {path:<20} {statistics.median(values) / by:>8.2f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.nat", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a figure")
    parser.add_argument("--rounds", type=int, help="how many (default: 15, or 1)")
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 0.3)")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    if os.geteuid():
        print("namespaces and eBPF programs need root: run this as root", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    rounds = asked.rounds or (1 if asked.quick else 15)
    load = measure.Load(measure.build(), asked.seconds or 0.3)
    start = time.monotonic()
    print(f"NAT ({report.machine()}; TCP with cubic, segments of 1400 bytes; one core)")
    before = os.getloadavg()[0]
    if before > 1:
        print("  the machine is busy with something else: figures may waver", flush=True)
    with all_paths() as paths:
        found = measure_all(load, paths.ready, rounds, TESTS)
        kept = memory.measure(paths.running, paths.ready["masquerade"].path, 500 if asked.quick else 4000)
    show_values(found)
    figures = ratios(found) | kept
    figures |= blocks.measure(40 if asked.quick else 400, lambda text: print(f"  {text}", flush=True))
    report.show(figures, UNITS)
    print(f"  rounds: {rounds}, of {load.seconds} s for each; {time.monotonic() - start:.0f} s in all")
    if not asked.quick:
        report.write("nat", {**figures, "load_average_before": before, "rounds": rounds})
    return 0


if __name__ == "__main__":
    sys.exit(main())

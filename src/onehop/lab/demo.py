"""The demo: the example tenant on two hosts, real traffic, and why each packet passes or not.

    python -m onehop.lab.demo [LAB.yaml]

Ends with status 0 only if every packet fared as the tenant's rules say.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from onehop.client import Client, ClientError
from onehop.client.errors import explained
from onehop.lab import traffic
from onehop.lab.lab import Lab, require_root
from onehop.lab.ledger import Ledger, names
from onehop.lab.spec import LabError, load
from onehop.lab.teardown import down

LAB = Path("examples/lab.yaml")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a machine tries, and whether the rules let it."""

    source: str
    target: str
    port: int | None  # of TCP; a ping, if None
    passes: bool
    told: str


ATTEMPTS = (
    Attempt("web-1", "web-2", None, True, "the web servers may be pinged, here from another host"),
    Attempt("web-1", "db-1", 5432, True, "a web server reaches the database, through the router"),
    Attempt("db-1", "web-1", 80, True, "anybody may reach port 80"),
    Attempt("web-1", "db-1", 22, False, "nobody may reach the database by ssh"),
    Attempt("db-1", "web-2", 5432, False, "no rule opens this port of a web server"),
    Attempt("web-2", "db-1", None, False, "the database may not be pinged"),
)
# In a lab that has a world outside.
OUTSIDE = "internet-1"
BEYOND = (
    Attempt("db-1", OUTSIDE, 443, True, "the outside is reached by all, who share the router's addresses"),
    Attempt("web-1", OUTSIDE, None, True, "this machine goes out under its floating IPs"),
    Attempt(OUTSIDE, "web-1", 80, True, "anybody may reach port 80, from outside by the floating IPs"),
    Attempt(OUTSIDE, "web-1", 22, False, "no rule lets ssh in from outside"),
)


class Demo:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._failed = 0

    def run(self) -> int:
        """Make every attempt, by IPv4 and IPv6. How many fared otherwise than they should."""
        with self._lab.client(self._lab.project) as api:
            has_outside = OUTSIDE in self._lab.spec.outside.machines
            for attempt in (*ATTEMPTS, *(BEYOND if has_outside else ())):
                print(f"\n{attempt.source} -> {attempt.target}: {attempt.told}")
                for address in self._addresses(api, attempt):
                    self._try(attempt, address)
                if attempt.source != OUTSIDE:
                    self._explain(api, attempt, self._addresses(api, attempt)[0])
        return self._failed

    def _addresses(self, api: Client, attempt: Attempt) -> list[str]:
        """Those by which the source of an attempt knows its target."""
        if attempt.target == OUTSIDE:
            return list(self._lab.spec.outside.addresses(OUTSIDE))
        vm = self._lab.vms[attempt.target]
        if attempt.source == OUTSIDE:
            return [floating["ip"] for floating in api.list("floating-ips", port=vm["port"])]
        return list(vm["addresses"])

    def _try(self, attempt: Attempt, address: str) -> None:
        source, target = (self._lab.place(name) for name in (attempt.source, attempt.target))
        if attempt.port is None:
            what, passed = f"ping {address}", traffic.ping(source, address)
        else:
            what = f"tcp {address} port {attempt.port}"
            passed = traffic.tcp(source, target, address, attempt.port)
        good = passed == attempt.passes
        self._failed += not good
        mark = "ok  " if good else "FAIL"
        print(f"  {mark} {what}: {'answered' if passed else 'dropped'}")

    def _explain(self, api: Client, attempt: Attempt, target: str) -> None:
        """The last words of the trace: who let it pass, or why not."""
        packet = self._packet(attempt, target)
        port = self._lab.vms[attempt.source]["port"]
        for line in _deciding(api.trace({"port": port, "packet": packet})["lines"]):
            print(f"       {line}")

    def _packet(self, attempt: Attempt, target: str) -> str:
        source = self._lab.vms[attempt.source]["addresses"][0]
        if attempt.port is None:
            return f"icmp {source} > {target}"
        return f"tcp {source}:40000 > {target}:{attempt.port}"


def _deciding(lines: list[str]) -> list[str]:
    """The step that judged it, those that translated it, and the outcome."""
    told = [line for line in lines if line]
    groups = [line for line in told if "security groups" in line]
    translated = [line for line in told if "  nat  " in line]
    return [*groups[-1:], *translated, told[-1]]


def main(argv: list[str]) -> int:
    path = Path(argv[0]) if argv else LAB
    try:
        require_root()
        spec = load(path)
        if spec.name in names():
            print(f"Lab {spec.name} is there from before: taking it down first", file=sys.stderr)
            down(Ledger.open(spec.name), lambda _: None)
        print(f"Building a data centre: {len(spec.hosts)} hosts, {len(spec.vms)} machines", file=sys.stderr)
        lab = Lab.up(spec, lambda text: print(f"  {text}", file=sys.stderr, flush=True))
        failed = Demo(lab).run()
        _say_where_to_look(lab)
    except (LabError, OSError, RuntimeError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except ClientError as error:
        print(f"demo: {explained(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; `make demo-down` takes down what is there", file=sys.stderr)
        return 130
    if failed:
        print(f"\n{failed} packets did not fare as they should", file=sys.stderr)
    return 1 if failed else 0


def _say_where_to_look(lab: Lab) -> None:
    url = next(iter(lab.status()["controllers"].values()))
    source, target = (lab.vms[name]["addresses"][0] for name in ("web-1", "db-1"))
    print("\nThe data centre stays up. To play on:\n\n  . .venv/bin/activate")
    for name, value in lab.environment().items():
        print(f"  export {name}={value}")
    print(
        "  onehop port list\n"
        f"  onehop trace --from web/web-1 'tcp {source}:40000 > {target}:22'\n"
        "  onehop reach web/web-1 db/db-1\n"
        f"  onehop lab exec web-1 -- ping -c 3 {lab.vms['web-2']['addresses'][0]}\n"
        "  onehop lab pcap h1 -i underlay0 -- udp port 4789\n"
        "  onehop lab status\n\n"
        f"The API and its documentation: {url}/v1/docs\n"
        "To take it down: make demo-down"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a lab is made of, as one short file says it.

    name: shop                     # by default the file's name
    hosts: 2                       # or names: [alpha, beta]
    controllers: 1
    store: sqlite                  # or etcd, or {etcd: 3}
    underlay: {family: ipv4, mtu: 1600}
    topology: shop-topology.yaml   # a document as `onehop apply` takes it, or the document itself, or several
    vms:
      web-1: {port: web/web-1, host: h1}
    outside: {machines: [internet-1]}   # the world beyond the uplinks
    uplinks: {up-1: h1, up-2: h2}       # each by its host

Everything here is a value: reading a file makes nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

MAX_FILE = 1 << 20
MAX_HOSTS = 64
MAX_VMS = 1024
ISP = "isp"  # the router outside
MAX_OUTSIDE = 16  # machines, and uplinks
LAB_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

Family = Literal["ipv4", "ipv6"]


class LabError(Exception):
    """Something about a lab that a person can mend, told in a sentence."""


@dataclass(frozen=True, slots=True)
class Vm:
    """A machine: a namespace with one interface, plugged into a port on a host."""

    name: str
    port: str
    host: str


@dataclass(frozen=True, slots=True)
class Underlay:
    """The switched network between the hosts. Its MTU leaves room for the tunnel header."""

    family: Family = "ipv4"
    mtu: int = 1600

    def address(self, number: int) -> str:
        return f"172.31.0.{number}" if self.family == "ipv4" else f"fd00:31::{number:x}"

    @property
    def prefix_length(self) -> int:
        return 24 if self.family == "ipv4" else 64


@dataclass(frozen=True, slots=True)
class Uplink:
    """A wire from a host to the router outside, and the provider router's port on it."""

    name: str
    host: str
    number: int  # the first is 0

    @property
    def interface(self) -> str:
        """On the host and, by the same name, on the router outside."""
        return f"uplink{self.number}"

    @property
    def here(self) -> tuple[str, str]:
        """The addresses of the provider router's port."""
        return f"192.0.2.{4 * self.number + 2}", f"2001:db8:2:{self.number + 1:x}::2"

    @property
    def there(self) -> tuple[str, str]:
        """The addresses of the router outside."""
        return f"192.0.2.{4 * self.number + 1}", f"2001:db8:2:{self.number + 1:x}::1"


@dataclass(frozen=True, slots=True)
class Outside:
    """What lies beyond the uplinks: one router, and machines on a network behind it."""

    machines: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ("203.0.113.0/24", "2001:db8:113::/64")  # of the external network

    def addresses(self, machine: str) -> tuple[str, str]:
        number = 10 + self.machines.index(machine)
        return f"198.51.100.{number}", f"2001:db8:100::{number}"


@dataclass(frozen=True, slots=True)
class Spec:
    name: str
    hosts: tuple[str, ...] = ("h1", "h2")
    controllers: int = 1
    etcd: int = 0  # members; 0: SQLite
    underlay: Underlay = Underlay()
    topology: Mapping[str, Any] | None = None
    vms: tuple[Vm, ...] = field(default=())
    outside: Outside = Outside()
    uplinks: tuple[Uplink, ...] = ()

    def host_address(self, host: str) -> str:
        return self.underlay.address(1 + self.hosts.index(host))

    def controller_address(self, number: int) -> str:
        return self.underlay.address(201 + number)

    def etcd_address(self, number: int) -> str:
        return self.underlay.address(221 + number)


def load(path: Path) -> Spec:
    """The lab that a file describes. Raises LabError."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise LabError(f"{path} is larger than {MAX_FILE >> 10} KiB")
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise LabError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LabError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    return read(data, default_name=path.stem, folder=path.parent)


def read(data: object, *, default_name: str = "lab", folder: Path = Path()) -> Spec:
    """A lab from plain data. Raises LabError, naming the field."""
    if not isinstance(data, Mapping):
        raise LabError("a lab file maps fields such as `hosts` and `vms` to their values")
    known = {"name", "hosts", "controllers", "store", "underlay", "topology", "vms", "outside", "uplinks"}
    for key in data:
        if key not in known:
            raise LabError(f"{key}: no such field; there are {', '.join(sorted(known))}")
    name = data.get("name", default_name)
    if not isinstance(name, str) or not LAB_NAME.fullmatch(name):
        raise LabError(f"name: {name!r} is not 1 to 20 of a-z, 0-9 and '-'")
    hosts = _hosts(data.get("hosts", 2))
    vms = _vms(data.get("vms") or {}, hosts)
    uplinks = _uplinks(data.get("uplinks") or {}, hosts)
    return Spec(
        name=name,
        hosts=hosts,
        controllers=_count(data.get("controllers", 1), "controllers", 1, 9),
        etcd=_etcd(data.get("store", "sqlite"), data.get("controllers", 1)),
        underlay=_underlay(data.get("underlay") or {}),
        topology=_topology(data.get("topology"), folder),
        vms=vms,
        outside=_outside(data.get("outside") or {}, uplinks, {*hosts, *(vm.name for vm in vms)}),
        uplinks=uplinks,
    )


def _count(value: object, where: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise LabError(f"{where}: {value!r} is not a number from {low} to {high}")
    return value


def _hosts(value: object) -> tuple[str, ...]:
    if isinstance(value, int):
        return tuple(f"h{i + 1}" for i in range(_count(value, "hosts", 1, MAX_HOSTS)))
    names = list(value) if isinstance(value, list) else []
    if not 1 <= len(names) <= MAX_HOSTS or not all(_is_name(n) for n in names):
        raise LabError(f"hosts: a number from 1 to {MAX_HOSTS}, or a list of that many names")
    if len(set(names)) < len(names):
        raise LabError("hosts: a name stands twice")
    return tuple(names)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _etcd(store: object, controllers: object) -> int:
    if store == "sqlite":
        if controllers != 1:
            raise LabError("controllers: SQLite belongs to one controller; several need `store: etcd`")
        return 0
    if store == "etcd":
        return 1
    if isinstance(store, Mapping) and set(store) == {"etcd"}:
        return _count(store["etcd"], "store.etcd", 1, 5)
    raise LabError(f"store: {store!r} is not sqlite, etcd, or {{etcd: MEMBERS}}")


def _underlay(data: object) -> Underlay:
    if not isinstance(data, Mapping) or not set(data) <= {"family", "mtu"}:
        raise LabError("underlay: maps `family` (ipv4, ipv6) and `mtu` to their values")
    family = data.get("family", "ipv4")
    if family not in ("ipv4", "ipv6"):
        raise LabError(f"underlay.family: {family!r} is not ipv4 or ipv6")
    return Underlay(family, _count(data.get("mtu", 1600), "underlay.mtu", 1400, 9300))


def _topology(value: object, folder: Path) -> Mapping[str, Any] | None:
    """A document, or several that are one: what is in a later one goes into those before."""
    if isinstance(value, list):
        whole: Mapping[str, Any] = {}
        for part in value:
            whole = _merged(whole, _topology(part, folder) or {})
        return whole
    if isinstance(value, str):
        path = folder / value
        try:
            value = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise LabError(f"topology: cannot read {path}: {error}") from None
    if value is not None and not isinstance(value, Mapping):
        raise LabError("topology: a document, the name of a file that holds one, or a list of these")
    return value


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    both = {
        name: _merged(base[name], more[name])
        for name in base.keys() & more.keys()
        if isinstance(base[name], Mapping) and isinstance(more[name], Mapping)
    }
    return {**base, **more, **both}


def _vms(data: object, hosts: tuple[str, ...]) -> tuple[Vm, ...]:
    if not isinstance(data, Mapping) or len(data) > MAX_VMS:
        raise LabError(f"vms: maps at most {MAX_VMS} names to their port and host")
    return tuple(vm(name, body, hosts) for name, body in data.items())


def vm(name: object, body: object, hosts: tuple[str, ...]) -> Vm:
    """One machine from plain data. Raises LabError."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise LabError(f"vms: {name!r} is not 1 to 40 of a-z, 0-9 and '-'")
    if not isinstance(body, Mapping) or not set(body) <= {"port", "host"}:
        raise LabError(f"vms.{name}: maps `port` and `host` to their values")
    port, host = body.get("port"), body.get("host", hosts[0])
    if not isinstance(port, str):
        raise LabError(f"vms.{name}.port: which port, such as web/web-1")
    if host not in hosts:
        raise LabError(f"vms.{name}.host: {host!r} is no host of this lab; there are {', '.join(hosts)}")
    return Vm(name, port, host)


def _uplinks(data: object, hosts: tuple[str, ...]) -> tuple[Uplink, ...]:
    if not isinstance(data, Mapping) or len(data) > MAX_OUTSIDE:
        raise LabError(f"uplinks: maps at most {MAX_OUTSIDE} names to the host of each")
    for name, host in data.items():
        if not _is_name(name):
            raise LabError(f"uplinks: {name!r} is not 1 to 40 of a-z, 0-9 and '-'")
        if host not in hosts:
            raise LabError(f"uplinks.{name}: {host!r} is no host of this lab; there are {', '.join(hosts)}")
    return tuple(Uplink(name, host, number) for number, (name, host) in enumerate(data.items()))


def _outside(data: object, uplinks: tuple[Uplink, ...], taken: set[str]) -> Outside:
    if not isinstance(data, Mapping) or not set(data) <= {"machines", "subnets"}:
        raise LabError("outside: maps `machines` and `subnets` to their values")
    if data and not uplinks:
        raise LabError("outside: nothing leads there; give `uplinks`, each with its host")
    machines = data.get("machines") or ()
    if (
        not isinstance(machines, list | tuple)
        or len(machines) > MAX_OUTSIDE
        or not all(map(_is_name, machines))
    ):
        raise LabError(f"outside.machines: a list of at most {MAX_OUTSIDE} names")
    for i, machine in enumerate(machines):
        if machine in taken or machine in machines[:i]:
            raise LabError(f"outside.machines: {machine!r} is the name of something else in this lab")
    if ISP in taken and uplinks:
        raise LabError(f"{ISP!r} is the name of the router outside; give the host or machine another name")
    return Outside(tuple(machines), _subnets(data.get("subnets", Outside().subnets)))


def _subnets(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= 2:
        raise LabError("outside.subnets: one prefix, or one of IPv4 and one of IPv6")
    try:
        found = [ipaddress.ip_network(text) for text in value if isinstance(text, str)]
    except ValueError as error:
        raise LabError(f"outside.subnets: {error}") from None
    if len({prefix.version for prefix in found}) < len(value):
        raise LabError("outside.subnets: one prefix, or one of IPv4 and one of IPv6")
    return tuple(map(str, found))


def is_v6(address: str) -> bool:
    return ipaddress.ip_address(address).version == 6

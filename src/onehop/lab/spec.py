"""What a lab is made of, as one short file says it.

    name: shop                     # by default the file's name
    hosts: 2                       # or names: [alpha, beta]
    controllers: 1
    store: sqlite                  # or etcd, or {etcd: 3}
    underlay: {family: ipv4, mtu: 1600}
    topology: shop-topology.yaml   # a document as `onehop apply` takes it, or the document itself
    vms:
      web-1: {port: web/web-1, host: h1}

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
class Spec:
    name: str
    hosts: tuple[str, ...] = ("h1", "h2")
    controllers: int = 1
    etcd: int = 0  # members; 0: SQLite
    underlay: Underlay = Underlay()
    topology: Mapping[str, Any] | None = None
    vms: tuple[Vm, ...] = field(default=())

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
    known = {"name", "hosts", "controllers", "store", "underlay", "topology", "vms"}
    for key in data:
        if key not in known:
            raise LabError(f"{key}: no such field; there are {', '.join(sorted(known))}")
    name = data.get("name", default_name)
    if not isinstance(name, str) or not LAB_NAME.fullmatch(name):
        raise LabError(f"name: {name!r} is not 1 to 20 of a-z, 0-9 and '-'")
    hosts = _hosts(data.get("hosts", 2))
    return Spec(
        name=name,
        hosts=hosts,
        controllers=_count(data.get("controllers", 1), "controllers", 1, 9),
        etcd=_etcd(data.get("store", "sqlite"), data.get("controllers", 1)),
        underlay=_underlay(data.get("underlay") or {}),
        topology=_topology(data.get("topology"), folder),
        vms=_vms(data.get("vms") or {}, hosts),
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
    if isinstance(value, str):
        path = folder / value
        try:
            value = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise LabError(f"topology: cannot read {path}: {error}") from None
    if value is not None and not isinstance(value, Mapping):
        raise LabError("topology: a document, or the name of a file that holds one")
    return value


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


def is_v6(address: str) -> bool:
    return ipaddress.ip_address(address).version == 6

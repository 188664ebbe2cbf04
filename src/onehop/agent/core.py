"""A running agent: the parts of a host, on one event loop.

    feed ──────────┐                    ┌─► reports, health ─► feed
    netlink ───────┼─► Host, one change ┤
    SIGTERM        │   at a time        └─► tables, attachments
    ring `events` ─┴─► slow path ─► injection

Stopping, however it happens, takes nothing down: tables, programs and links are pinned, and the next agent
goes on with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import structlog

from onehop import __version__
from onehop.agent import devices
from onehop.agent.attachments import Attachments
from onehop.agent.connections import Answerer
from onehop.agent.feed_link import Controllers
from onehop.agent.follow import Batch, Follower
from onehop.agent.handover import Handover
from onehop.agent.host import Host, Surroundings
from onehop.agent.join import Credential
from onehop.agent.kept import Kept
from onehop.agent.records import Records
from onehop.agent.settings import Refused, Settings
from onehop.agent.slowpath.events import SlowPath
from onehop.agent.state import load_numbers, save_numbers
from onehop.datapath.attach import Direction
from onehop.datapath.build import object_path
from onehop.datapath.features import Features
from onehop.datapath.libbpf import BpfError
from onehop.datapath.object import Config, load_object
from onehop.datapath.pinned import PinnedDatapath
from onehop.datapath.pins import mount_bpffs
from onehop.feed.messages import PortReport
from onehop.linux.links import NetlinkError
from onehop.linux.monitor import Monitor
from onehop.model import Host as HostObject
from onehop.model import Underlay
from onehop.model.view import View

__all__ = ["Agent"]

UDP_PORT = 4789
HEALTH = 10.0  # seconds between looks at what is wrong here
SETTLE = 0.005  # seconds that interfaces get to come in company
log = structlog.get_logger()


class Agent:
    """Made in the host's network namespace; `run` it to the end."""

    def __init__(self, settings: Settings, credential: Credential, features: Features) -> None:
        self._settings, self._credential = settings, credential
        self._features = features
        self._kept = Kept(settings.state / "topology.db")
        ca = _ca_file(settings, credential)
        self.follower = Follower(
            credential.host,
            __version__,
            Controllers(settings.feeds, credential.token, str(ca) if ca else None),
            self._kept,
            self._on_change,
            settle=self._settled,
        )
        self._busy = asyncio.Lock()
        self._stop = asyncio.Event()
        self._stirred = asyncio.Event()

    def prepare(self) -> None:
        """Everything that needs no event loop: from what is kept to a host that forwards."""
        settings = self._settings
        mount_bpffs(settings.bpffs)
        self._udp_port = _udp_port(self.follower.topology, self._credential.host)
        self._inject = devices.inject_device()
        self._datapath = PinnedDatapath.open(settings.bpffs, self._config())
        self._attachments = Attachments(settings.bpffs)
        self._attachments.put(self._inject, Direction.EGRESS, self._datapath.programs["inject"])
        self._hold_port()
        self._monitor = Monitor()
        self._host = Host(
            self._credential.host,
            self.follower.topology,
            self._datapath,
            self._attachments,
            load_numbers(settings.state),
            lambda numbers: save_numbers(settings.state, numbers),
            self._kept.revisions,
            devices.prepare,
        )
        self.follower.report_ports(self._host.start(self._surroundings()))
        records = Records(self._datapath.maps, lambda: self._datapath.programs)
        self.follower.on_question = Answerer(self._host, records).answer
        self._handover = Handover(self._host, records, self.follower.fetch)
        self.follower.on_moved = self._handover.moved
        self._slow_path = SlowPath(self._host, self.follower, self._datapath, devices.INJECT)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_reader(self._monitor.fileno(), self._stirred.set)
        self.follower.report_health(self._health())
        self._slow_path.start(loop)
        self._handover.start()
        tasks = [
            asyncio.create_task(self.follower.run(), name="follow the feed"),
            asyncio.create_task(self._watch_interfaces(), name="watch interfaces"),
            asyncio.create_task(self._watch_health(), name="watch health"),
            asyncio.create_task(self._stop.wait(), name="wait for the end"),
        ]
        log.info(
            "running", host=self._credential.name, tcx=self._features.tcx, adopted=self._datapath.adopted
        )
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        self._slow_path.close()
        self._handover.close()
        for task in done:
            task.result()
        log.info("stopping; the host goes on forwarding")

    def close(self) -> None:
        self._kept.close()

    # --- what happens -------------------------------------------------------------------------------

    async def _on_change(self, batch: Batch) -> None:
        async with self._busy:
            with _timed("a change is in effect", revision=batch.revision, objects=len(batch.changes)):
                self.follower.report_ports(await self._put_into_effect(batch))
                self._handover.changed(batch.changes)
        self.follower.report_health(self._health())

    async def _put_into_effect(self, batch: Batch) -> list[PortReport]:
        """A change that fails must not leave the host between two states: then all is computed anew."""
        try:
            await self._reload_for(batch)
            return self._host.change(batch.changes)
        except Exception:
            log.exception("a change could not be put into effect; computing everything anew")
            return self._host.start(self._surroundings())

    async def _watch_interfaces(self) -> None:
        while True:
            await self._stirred.wait()
            await asyncio.sleep(SETTLE)
            self._stirred.clear()
            async with self._busy:
                if self._monitor.read():
                    self.follower.report_ports(self._host.surroundings(self._surroundings()))
                    self.follower.report_health(self._health())

    async def _watch_health(self) -> None:
        said = self._health()
        while True:
            await asyncio.sleep(HEALTH)
            found = self._health()
            if found != said:
                self.follower.report_health(found)
                said = found

    def _settled(self, current: bool) -> None:
        """A controller may have missed what was reported while none was there."""
        if current:
            self.follower.report_ports(self._host.all_reports())
            log.info("following a controller", revision=self.follower.position.revision)

    def _health(self) -> dict[str, str]:
        return {**self._host.health(), **self._slow_path.health()}

    # --- parts --------------------------------------------------------------------------------------

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            dict(self._monitor.links),
            frozenset(self._monitor.addresses),
            frozenset({devices.INJECT, devices.INJECT_PEER, devices.VXLAN}),
            self._settings.underlay,
        )

    def _config(self) -> Config:
        return {
            "udp_port": self._udp_port,
            "inject_ifindex": self._inject,
            "decap_l3": int(_at_least(self._features.release, (6, 3))),
        }

    async def _reload_for(self, batch: Batch) -> None:
        """The tunnels' UDP port is built into the programs."""
        if not any(isinstance(obj, Underlay | HostObject) for pair in batch.changes.values() for obj in pair):
            return
        port = _udp_port(self.follower.topology, self._credential.host)
        if port != self._udp_port:
            log.info("the tunnels' UDP port changes", port=port)
            self._udp_port = port
            self._datapath.load(self._config())
            self._attachments.put(self._inject, Direction.EGRESS, self._datapath.programs["inject"])
            self._host.attach_all()
            self._datapath.remove_others()
            await asyncio.to_thread(self._hold_port)  # pyroute2 runs an event loop of its own

    def _hold_port(self) -> None:
        """Without it all works, but for offloads of some network cards."""
        try:
            index = devices.vxlan_device(self._udp_port)
            with load_object(object_path("silence")) as silence:
                self._attachments.put(index, Direction.INGRESS, silence.programs["silence"])
        except (OSError, NetlinkError, BpfError) as error:
            log.warning("no device holds the tunnels' UDP port", port=self._udp_port, reason=str(error))


def _ca_file(settings: Settings, credential: Credential) -> Path | None:
    """The CA that was pinned at joining, else the one that is given."""
    if settings.ca is not None or credential.ca is None:
        if settings.ca is None and any(url.startswith("https:") for url in settings.controllers):
            raise Refused("give the controllers' CA certificate with --ca; it is ca.pem in their state")
        return settings.ca
    path = settings.state / "ca.pem"
    path.write_text(credential.ca)
    return path


def _udp_port(view: View, host: str) -> int:
    this = view.get(HostObject, host)
    for address in this.addresses if this is not None else ():
        underlay = view.get(Underlay, address.underlay)
        if underlay is not None:
            return underlay.udp_port
    return UDP_PORT


def _at_least(release: str, wanted: tuple[int, int]) -> bool:
    numbers = release.replace("-", ".").split(".")[:2]
    return tuple(int(n) if n.isdigit() else 0 for n in numbers) >= wanted


@contextlib.contextmanager
def _timed(what: str, **about: int) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    yield
    log.info(what, ms=round((loop.time() - begun) * 1000, 1), **about)

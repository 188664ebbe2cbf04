"""Ports of shared addresses: more are asked for before they run out; a port that has none left says so.

Programs tell when it was hard to find a free one. Then the controller is asked, once per port, rule and
family until more come or some time has passed. What a port is short of shows in its status, and is gone from
there when nothing has been short for a while. Pure but for what it is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from onehop.model import NatRule, SnatBlock
from onehop.model.formats import parse_ip
from onehop.model.kinds import Family
from onehop.model.view import View

__all__ = ["PATIENCE", "SHOWN", "Share", "Shares"]

PAUSE = 0.2  # seconds between two requests of a port for a rule, at least
PATIENCE = 5.0  # seconds until one that brought nothing is repeated
SHOWN = 60.0  # seconds for which a warning stays
MOST = 4096  # of those that something is known of
log = structlog.get_logger()


class Share(NamedTuple):
    """What a port has of the addresses that a rule shares."""

    port: str
    rule: str
    family: Family


@dataclass(slots=True)
class _Asked:
    at: float
    blocks: int
    in_vain: int = 0  # requests before it that brought nothing


@dataclass(slots=True)
class _Warned:
    text: str
    until: float


class Shares:
    def __init__(
        self,
        view: View,
        ask: Callable[[Share], None],
        refused: Callable[[str], int],
        warn: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`refused` counts a port's packets that found no shared port free; `warn` says so in its status."""
        self._view, self._ask, self._refused, self._warn = view, ask, refused, warn
        self._clock = clock
        self._asked: dict[Share, _Asked] = {}
        self._seen: dict[str, int] = {}  # how many were refused, by port
        self._warned: dict[str, _Warned] = {}

    def low(self, share: Share) -> None:
        """A free port was hard to find, or there was none."""
        now, blocks = self._clock(), self._blocks(share)
        asked = self._asked.get(share)
        in_vain = 0
        if asked is not None:
            more = blocks > asked.blocks
            if now - asked.at < (PAUSE if more else PATIENCE):
                self._judge(share, asked.in_vain)
                return
            in_vain = 0 if more else asked.in_vain + 1
        elif len(self._asked) >= MOST:
            self._asked.clear()
        self._asked[share] = _Asked(now, blocks, in_vain)
        self._ask(share)
        self._judge(share, in_vain)

    def tick(self) -> None:
        """To be called when something is `due`."""
        now = self._clock()
        for port, warned in list(self._warned.items()):
            if warned.until <= now:
                del self._warned[port]
                self._seen.pop(port, None)
                self._warn(port, "")
        self._asked = {share: asked for share, asked in self._asked.items() if now - asked.at < SHOWN}

    @property
    def due(self) -> float | None:
        """When there is something to do, by the clock."""
        return min((warned.until for warned in self._warned.values()), default=None)

    def _blocks(self, share: Share) -> int:
        version = 4 if share.family == "ipv4" else 6
        return sum(
            block.rule == share.rule and parse_ip(block.ip).version == version
            for block in self._view.children(SnatBlock, share.port)
        )

    def _judge(self, share: Share, in_vain: int) -> None:
        """What there is to be warned of."""
        refused = self._refused(share.port)
        before = self._seen.setdefault(share.port, refused)
        if refused > before:
            self._seen[share.port] = refused
            self._say(share, "new connections are dropped: no port is left to it of the addresses shared by")
        elif in_vain and share.port in self._warned:
            self._warned[share.port].until = self._clock() + SHOWN
        elif in_vain:
            self._say(share, "runs out of ports of the addresses shared by")

    def _say(self, share: Share, what: str) -> None:
        rule = self._view.get(NatRule, share.rule)
        text = f"{what} NAT rule {rule.name if rule is not None else share.rule} ({share.family})"
        before = self._warned.get(share.port)
        self._warned[share.port] = _Warned(text, self._clock() + SHOWN)
        if before is None or before.text != text:
            log.warning("a port is short of shared ports", port=share.port, reason=text)
            self._warn(share.port, text)

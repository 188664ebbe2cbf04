"""How an agent is to run: what the command line says, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Refused", "Settings"]


class Refused(Exception):
    """The agent does not start like this. The text is a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    state: Path
    bpffs: Path
    controllers: tuple[str, ...]  # https://host:port
    underlay: tuple[str, ...] = ()  # interfaces; those with this host's addresses, if none is named
    ca: Path | None = None
    join_token: Path | None = None

    @property
    def feeds(self) -> tuple[str, ...]:
        """Where the feed is."""
        return tuple(f"{url.replace('http', 'ws', 1).rstrip('/')}/v1/feed" for url in self.controllers)

"""Reads what the programs tell. So far nothing is answered here: whoever sent the packet will send again."""

from __future__ import annotations

import asyncio

from onehop.agent.follow import Follower
from onehop.agent.host import Changes, Host
from onehop.agent.programs import Datapath


class SlowPath:
    def __init__(self, host: Host, follower: Follower, datapath: Datapath, device: str) -> None: ...

    def start(self, loop: asyncio.AbstractEventLoop) -> None: ...

    def changed(self, changes: Changes) -> None: ...

    def close(self) -> None: ...

"""What a host asks to follow on demand: from its question to what is followed, if there is such a thing."""

from __future__ import annotations

from onehop.controller.cache import Cache
from onehop.feed.messages import End, Holder, Target
from onehop.feed.needs import END, object_of
from onehop.feed.reach import Reach
from onehop.model import FloatingIp, Network, Port
from onehop.model.claims import ip_claim, key_claim
from onehop.model.formats import parse_ip

__all__ = ["find_target"]


def find_target(cache: Cache, reach: Reach, host: str, target: Target) -> str | None:
    """The id to follow, or that of an end; None if nobody is meant, or it is none of the host's business."""
    match target:
        case str():
            return target if cache.view.find(object_of(target)) is not None else None
        case int():
            return _with_key(cache, target)
        case End(key):
            id = _with_key(cache, key)
            return END + id if id is not None and cache.view.get(Port, id) is not None else None
        case Holder(network, ip):
            is_near = reach.follows(host, network) and cache.view.get(Network, network) is not None
            return _holder(cache, network, ip) if is_near else None


def _with_key(cache: Cache, key: int) -> str | None:
    """The port or network that has a key."""
    id = cache.holders.owner(key_claim(key))
    return id if id is not None and cache.view.find(id) is not None else None


def _holder(cache: Cache, network: str, ip: str) -> str | None:
    """What has to be followed to know who has an address on a network: the port, or the zone behind."""
    try:
        claim = ip_claim(network, str(parse_ip(ip)))
    except ValueError:
        return None
    owner = cache.holders.owner(claim)
    found = cache.view.find(owner) if owner is not None else None
    if isinstance(found, FloatingIp):
        found = cache.view.get(Port, found.port)
        return found.network if found is not None else None
    if isinstance(found, Port):
        return found.router or found.id
    return None

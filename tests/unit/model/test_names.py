from __future__ import annotations

from uuid import UUID

import pytest

from onehop.model import KINDS, Network, Port, Project, Router
from onehop.model.names import Unresolved, resolve
from onehop.model.view import Topology


def uid(n: int) -> str:
    return str(UUID(int=n))


SHOP, LAB = Project(id=uid(1), name="shop"), Project(id=uid(2), name="lab")
WEB = Network(id=uid(10), name="web", project=SHOP.id)
LAB_WEB = Network(id=uid(11), name="web", project=LAB.id)
EDGE = Router(id=uid(12), name="edge", project=SHOP.id)
IN_WEB = Port(id=uid(20), name="one", project=SHOP.id, network=WEB.id)
IN_EDGE = Port(id=uid(21), name="one", project=SHOP.id, router=EDGE.id, kind="router")
ALONE = Port(id=uid(22), name="two", project=SHOP.id, network=WEB.id)
VIEW = Topology([SHOP, LAB, WEB, LAB_WEB, EDGE, IN_WEB, IN_EDGE, ALONE])


@pytest.mark.parametrize(
    ("kind", "text", "id"),
    [
        ("network", "web", WEB.id),
        ("network", "lab:web", LAB_WEB.id),
        ("network", WEB.id, WEB.id),
        ("port", "web/one", IN_WEB.id),
        ("port", "edge/one", IN_EDGE.id),
        ("port", "two", ALONE.id),
        ("port", f"{WEB.id}/two", ALONE.id),
        ("project", "lab", LAB.id),
    ],
)
def test_a_reference_stands_for_one_object(kind: str, text: str, id: str) -> None:
    assert resolve(text, KINDS[kind], VIEW, SHOP.id) == id


def test_a_bare_name_is_looked_up_nearby_first() -> None:
    assert resolve("one", KINDS["port"], VIEW, SHOP.id, near=[EDGE.id]) == IN_EDGE.id


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("network", "db", "there is no network 'db'"),
        ("port", "one", "more than one port is called 'one'; write PARENT/one"),
        ("network", "nobody:web", "there is no project 'nobody'"),
        ("network", "a/b", "belongs to nothing"),
        ("port", "web/" + "x" * 300, "at most"),
    ],
)
def test_what_a_reference_cannot_stand_for_is_said(kind: str, text: str, why: str) -> None:
    with pytest.raises(Unresolved, match=why):
        resolve(text, KINDS[kind], VIEW, SHOP.id)

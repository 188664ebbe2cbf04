"""Changes to the objects of a virtual network, for tests."""

from __future__ import annotations

from typing import Any

import msgspec

from onehop.model import Object
from onehop.model.view import Overlay
from tests.support.virtual import Virtual


def change(virtual: Virtual, obj: Object, **fields: Any) -> None:
    """Put an object with other fields in its place."""
    view = Overlay(virtual.view)
    view.put(msgspec.structs.replace(obj, **fields))
    virtual.view = view


def add(virtual: Virtual, *objects: Object) -> None:
    view = Overlay(virtual.view)
    for obj in objects:
        view.put(obj)
    virtual.view = view


def remove(virtual: Virtual, obj: Object) -> None:
    view = Overlay(virtual.view)
    view.remove(obj.id)
    virtual.view = view

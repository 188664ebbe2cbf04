"""Who owns what, and who may do what."""

from __future__ import annotations

from typing import Annotated, Literal

from onehop.model.fields import field
from onehop.model.formats import Format
from onehop.model.kinds import Object, Scope, kind

RoleName = Literal["admin", "member", "reader", "host"]


@kind("project", scope=Scope.CLOUD)
class Project(Object, frozen=True, kw_only=True):
    """A tenant: everything it owns is isolated from what other projects own."""


@kind("token", scope=Scope.CLOUD)
class Token(Object, frozen=True, kw_only=True):
    """Proves who is calling. The secret is shown once, when the token is made; only its hash is kept."""

    expires: Annotated[
        str | None, field("When it stops to work; never, if left out.", format=Format.TIME)
    ] = None
    host: Annotated[
        str | None,
        field("The host whose credential this is.", ref="host", immutable=True, read_only=True),
    ] = None
    hash: Annotated[
        str, field("SHA-256 of the secret, in hex.", read_only=True, secret=True, max_length=64)
    ] = ""


@kind("role", scope=Scope.CLOUD)
class Role(Object, frozen=True, kw_only=True):
    """What a token may do in a project, or, without a project, in the whole cloud."""

    token: Annotated[str, field("The token that gets the role.", ref="token", parent=True)]
    role: Annotated[
        RoleName,
        field(
            "`admin` and `member` read and write the project's objects, `reader` reads them. Without a "
            "project: `admin` does everything, `reader` sees everything, `host` is for agents.",
            immutable=True,
        ),
    ]

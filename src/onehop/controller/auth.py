"""Who is calling.

A token reads `onehop_<id>_<secret>`: the id finds the token object, and the 256 random bits are compared by
their SHA-256, which alone is kept. What a caller may see and write is in `access`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import NamedTuple

from onehop.controller.actor import Actor
from onehop.controller.answers import AnyRequest, Unauthorized
from onehop.controller.refusals import Forbidden
from onehop.model import Role, Token
from onehop.model.formats import is_id, parse_time
from onehop.model.identity import RoleName
from onehop.model.view import View

PREFIX = "onehop_"
MAX_BEARER = 256
_RANK: dict[RoleName, int] = {"host": 0, "reader": 1, "member": 2, "admin": 3}


class Secret(NamedTuple):
    """A new secret: what the caller is given, and what is kept."""

    text: str
    hash: str


def new_secret(id: str) -> Secret:
    text = f"{PREFIX}{id}_{secrets.token_urlsafe(32)}"
    return Secret(text, digest(text))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def authenticate(request: AnyRequest, view: View) -> Actor:
    """The caller. Raises Unauthorized."""
    return caller(request.headers.get("authorization"), view)


def caller(header: str | None, view: View) -> Actor:
    """Whom an Authorization header stands for. Raises Unauthorized."""
    if header is None:
        raise Unauthorized("a token is needed: send it as `Authorization: Bearer TOKEN`")
    scheme, _, text = header.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text or len(text) > MAX_BEARER or not text.isascii():
        raise Unauthorized("the Authorization header has to read `Bearer TOKEN`")
    token = token_of(text, view)
    if token is None:
        raise Unauthorized("the token is not known here; it may have been deleted")
    if expired(token):
        raise Unauthorized(f"the token has expired on {token.expires}; ask an administrator for another")
    return actor_of(token, view)


def token_of(text: str, view: View) -> Token | None:
    """The token whose secret this is."""
    id = text.removeprefix(PREFIX)[:36]
    if not text.startswith(PREFIX) or not is_id(id):
        return None
    token = view.get(Token, id)
    if token is None or not token.hash or not hmac.compare_digest(digest(text), token.hash):
        return None
    return token


def expired(token: Token) -> bool:
    return token.expires is not None and parse_time(token.expires) <= datetime.now(UTC)


def actor_of(token: Token, view: View) -> Actor:
    """Whom a token stands for: the strongest of its roles, in the cloud and in each project."""
    cloud: RoleName | None = None
    projects: dict[str, RoleName] = {}
    for role in view.children(Role, token.id):
        if role.project is None:
            cloud = _stronger(cloud, role.role)
        else:
            projects[role.project] = _stronger(projects.get(role.project), role.role)
    return Actor(token.id, token.name, cloud, projects, token.host)


def refreshed(actor: Actor, view: View) -> Actor | None:
    """The same caller with the roles it has now; None if its token has expired or is gone."""
    token = view.get(Token, actor.token)
    return None if token is None or expired(token) else actor_of(token, view)


def _stronger(a: RoleName | None, b: RoleName) -> RoleName:
    return b if a is None or _RANK[b] > _RANK[a] else a


def require_reader(actor: Actor, what: str) -> None:
    """For what administrators see."""
    if not actor.may_read(None):
        raise Forbidden(f"{what} can be seen by cloud administrators and cloud readers only")


def require_admin(actor: Actor, what: str) -> None:
    if not actor.is_admin:
        raise Forbidden(f"{what} is for cloud administrators only")

"""On whose behalf something is done, and what that one may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onehop.model.identity import RoleName

WRITERS = ("admin", "member")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is calling. `token` is the token's id: it is written to the audit and scopes idempotency keys.

    cloud      the role in the whole cloud, if any: `admin` does everything, `reader` sees everything
    projects   the roles in projects, by the project's id
    host       the host whose credential this is
    """

    token: str
    name: str
    cloud: RoleName | None = None
    projects: Mapping[str, RoleName] = field(default_factory=dict)
    host: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether this is an administrator of the cloud."""
        return self.cloud == "admin"

    def may_read(self, project: str | None) -> bool:
        """Whether this one sees what the project owns; None stands for what the cloud owns."""
        return self.cloud in ("admin", "reader") or (project is not None and project in self.projects)

    def may_write(self, project: str | None) -> bool:
        if self.cloud == "admin":
            return True
        return project is not None and self.projects.get(project) in WRITERS

    @property
    def only_project(self) -> str | None:
        """The project meant when none is named: the only one there is."""
        return next(iter(self.projects)) if len(self.projects) == 1 else None


# The controller itself, for what nobody asked for: the first start, the duties.
CONTROLLER = Actor(token="controller", name="controller", cloud="admin")

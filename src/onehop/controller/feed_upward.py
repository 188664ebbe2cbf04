"""What hosts report, and what becomes of it in the status. A host speaks for what is bound to it alone."""

from __future__ import annotations

from datetime import UTC, datetime

from onehop.controller.feed_session import Session
from onehop.controller.reports import Reports, key
from onehop.feed.messages import PortReport, Report
from onehop.model.view import View


class Upward:
    def __init__(self, view: View, reports: Reports, controller: str) -> None:
        self._view = view
        self._reports = reports
        self._controller = controller

    def host(self, session: Session) -> None:
        """The host is here, and this is how it is doing."""
        session.written = session.applied
        self._reports.present(
            key("host", session.host, self._controller),
            {
                "connected": True,
                "controller": self._controller,
                "agent": session.agent,
                "applied": session.applied,
                "health": session.health,
                "reported": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )

    def left(self, session: Session) -> None:
        self._reports.remove(key("host", session.host, self._controller))

    def take(self, session: Session, report: Report) -> None:
        """Note a report. What it says of ports that are not bound to the host is passed over: they may have
        been, when it was sent."""
        for about in report.ports:
            if self.is_bound(about.port, session.host):
                self._port(about, session.host)
        learned = [entry for entry in report.learned if self.is_bound(entry.port, session.host)]
        for port in session.learn(learned):
            self._reports.put(key("port-learned", port, session.host), _lists(session.learned[port]))
        if report.health is not None and report.health != session.health:
            session.health = report.health
            self.host(session)

    def unbound(self, session: Session, port: str) -> None:
        """Take back what was said of a port that is no longer there."""
        self._reports.remove(key("port", port, session.host))
        if session.learned.pop(port, None):
            self._reports.remove(key("port-learned", port, session.host))

    def _port(self, about: PortReport, host: str) -> None:
        at = key("port", about.port, host)
        if about.state == "gone":
            self._reports.remove(at)
        else:
            said = {"state": about.state, "reason": about.reason, "host": host, "revision": about.revision}
            self._reports.put(at, said)

    def is_bound(self, port: str, host: str) -> bool:
        """Whether a host may speak for a port."""
        return any(binding.host == host for binding in self._view.bindings(port))


def _lists(known: dict[tuple[str, str], str]) -> dict[str, list[dict[str, str]]]:
    lists: dict[str, list[dict[str, str]]] = {}
    for (what, at), via in sorted(known.items()):
        lists.setdefault(what, []).append({"key": at, "via": via})
    return lists

"""What Prometheus is told of a controller."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from onehop.controller.cache import Cache
from onehop.model import KINDS

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """One registry per controller, so that several live in one process."""

    def __init__(self, cache: Cache) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "onehop_http_requests", "Requests answered.", ("method", "path", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "onehop_http_request_seconds",
            "Time from a request to its whole reply; streams are left out.",
            ("method",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        revision = Gauge("onehop_revision", "The store revision seen last.", registry=self.registry)
        revision.set_function(lambda: cache.revision)
        objects = Gauge("onehop_objects", "Objects in the store.", ("kind",), registry=self.registry)
        for kind in KINDS:
            objects.labels(kind).set_function(partial(_count_of, cache, kind))
        self.duties = Gauge(
            "onehop_duty_held", "1 for a duty that this controller does.", ("duty",), registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def observing(self, app: ASGIApp) -> ASGIApp:
        """An app whose requests are counted."""

        async def observed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP:
                await app(scope, receive, send)
                return
            started = time.perf_counter()
            status = 500
            streams = False

            async def sending(message: Message) -> None:
                nonlocal status, streams
                if message["type"] == "http.response.start":
                    status = message["status"]
                    streams = any(k == b"content-type" and b"stream" in v for k, v in message["headers"])
                await send(message)

            try:
                await app(scope, receive, sending)
            finally:
                self._count(scope, status, None if streams else time.perf_counter() - started)

        return observed

    def _count(self, scope: Any, status: int, seconds: float | None) -> None:
        # The template, never the path itself: callers must not be able to make up label values.
        path = scope.get("path_template") or "none"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, path, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(method).observe(seconds)


def _count_of(cache: Cache, kind: str) -> float:
    return sum(1 for _ in cache.view.ids_of(kind))


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

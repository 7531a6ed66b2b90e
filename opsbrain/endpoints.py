"""The paths that telemetry is posted to, and the wire format that each takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

REMOTE_WRITE: Final = "/api/v1/write"
OTLP: Final[Mapping[str, str]] = {
    "/v1/logs": "otlp-logs",
    "/v1/metrics": "otlp-metrics",
    "/v1/traces": "otlp-spans",
}
EVENTS: Final = "/events"
HOOKS: Final = "/hooks/"
RECEIVE: Final = "/receive/"
ENDPOINTS: Final[Mapping[str, str]] = {
    REMOTE_WRITE: "prometheus-remote-write",
    **OTLP,
    "/fluentbit": "fluentbit",
    EVENTS: "kubernetes-event-exporter",
    "/hooks/gitlab": "gitlab",
    "/hooks/github": "github",
    "/hooks/argocd": "argocd",
    "/hooks/alertmanager": "alertmanager",
    "/hooks/terraform": "terraform",
    "/hooks/junit": "junit",
    "/hooks/cloudtrail": "cloudtrail",
    "/hooks/falco": "falco",
}
"""Format by path; beside these, `/receive/{format}` takes every format."""

GRPC_METHODS: Final[Mapping[str, str]] = {
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "otlp-logs",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "otlp-metrics",
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "otlp-spans",
}

KUBERNETES_EVENTS: Final = "kubernetes-events"
_FIRST_BYTES: Final = 1 << 20
_FIRST: Final = json.JSONDecoder()
_NATIVE: Final = frozenset({"regarding", "object", "items", "kind"})  # keys that the exporter's shape does not have


def events_format(body: bytes) -> str:
    """Return the format of what was posted to `/events`: as the API server has events, or as the exporter sends them.

    The first record of a body speaks for all; what cannot be read goes to the exporter's format, which refuses it.
    """
    keys = _keys(body)
    return KUBERNETES_EVENTS if keys & _NATIVE else ENDPOINTS[EVENTS]


def _keys(body: bytes) -> frozenset[str]:
    """Return the keys of the first record; none where that is no object, or a very large one."""
    text = body[:_FIRST_BYTES].decode(errors="ignore").lstrip("\ufeff \t\r\n[")
    try:
        first, _ = _FIRST.raw_decode(text)
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(first) if isinstance(first, dict) else frozenset()

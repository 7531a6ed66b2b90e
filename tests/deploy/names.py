"""Names of metrics: those that OpsBrain has, and those that an expression asks for."""

from __future__ import annotations

import re

from engine.runners.meters import Meters
from opsbrain.metrics import BUILD_INFO, COUNTERS, GAUGES, STAGE_SECONDS, Exposition

OF_PROMETHEUS = frozenset({"up", "ALERTS"})
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_OURS = re.compile(r"(?<![\w:])((?:opsbrain_|process_)\w+|\w+:opsbrain_\w+:\w+)")
_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? ")

LABELS = {
    "opsbrain_received_total": {"component", "of"},
    "opsbrain_sent_total": {"component", "of"},
    "opsbrain_dropped_total": {"component", "reason"},
    "opsbrain_errors_total": {"component", "kind"},
    "opsbrain_stage_seconds_total": {"stage"},
}


def known() -> frozenset[str]:
    """Return every name that a process of ours may show to Prometheus."""
    ours = {*(f"{name}_total" for name in (*COUNTERS, STAGE_SECONDS)), *GAUGES, BUILD_INFO}
    shown = {found[1] for line in Exposition(Meters()).text().decode().splitlines() if (found := _LINE.match(line))}
    return frozenset(ours | {name for name in shown if name.startswith("process_")})


def asked(expression: str) -> set[str]:
    """Return the names of ours, of the process's own and of recording rules that an expression asks for."""
    return set(_OURS.findall(_QUOTED.sub('""', expression)))

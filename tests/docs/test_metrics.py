"""docs/metrics.md lists every name that /metrics serves, with its kind and labels, and none that it does not."""

from __future__ import annotations

import re

from engine.runners.meters import Meters
from opsbrain.metrics import COUNTERS, GAUGES, Exposition
from tests.conftest import ROOT
from tests.opsbrain.scrapes import Scrape

TEXT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge) \|([^|]*)\|", re.MULTILINE)


def test_the_table_has_what_is_served_and_nothing_else() -> None:
    served = Scrape.of(Exposition(Meters()).text().decode()).kinds
    listed = {name: kind for name, kind, _ in ROW.findall(TEXT)}
    assert listed == served


def test_the_table_has_the_labels() -> None:
    listed = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, _, labels in ROW.findall(TEXT)}
    for name, (labels, _) in GAUGES.items():
        assert listed[name] == labels, name
    for name, (label, _) in COUNTERS.items():
        assert listed[f"{name}_total"] == ("component", label), name

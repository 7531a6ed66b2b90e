"""The dashboard: what it asks Prometheus for exists and can be parsed, and Grafana finds what it needs."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.names import OF_PROMETHEUS, asked, known
from tests.deploy.promtool import promtool

DASHBOARD = json.loads((ROOT / "deploy/grafana/opsbrain.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [one for one in DASHBOARD["panels"] if one["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
FILLED_IN = {"$__rate_interval": "5m", "$job": ".+", "$instance": ".+"}


def expressions() -> list[str]:
    notes = [one["expr"] for one in DASHBOARD["annotations"]["list"] if "expr" in one]
    return [target["expr"] for panel in PANELS for target in panel["targets"]] + notes


def filled_in(expression: str) -> str:
    for variable, value in FILLED_IN.items():
        expression = expression.replace(variable, value)
    return expression


@pytest.mark.prometheus2
def test_prometheus_parses_every_expression(tmp_path: Path) -> None:
    written = [{"record": f"panel:{number}", "expr": filled_in(one)} for number, one in enumerate(expressions())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": written}]}))
    assert f"{len(written)} rules found" in promtool("check", "rules", "panels.yml", folder=tmp_path)


@pytest.mark.parametrize("expression", expressions())
def test_panels_ask_for_metrics_that_exist(expression: str) -> None:
    assert asked(expression) <= known()
    assert asked(expression) or any(name in expression for name in OF_PROMETHEUS)
    assert "$" not in filled_in(expression)


def test_every_metric_of_ours_has_a_panel() -> None:
    shown = set().union(*map(asked, expressions()))
    assert {name for name in known() if name.startswith("opsbrain_")} <= shown


def test_the_source_of_data_is_a_variable() -> None:
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "instance": "query"}
    assert all(one["datasource"] == SOURCE for panel in PANELS for one in (panel, *panel["targets"]))
    assert "__inputs" not in DASHBOARD
    assert DASHBOARD["schemaVersion"] >= 41


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panels_say_what_they_show_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]


def test_panels_lie_beside_each_other() -> None:
    assert len({one["id"] for one in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in itertools.combinations(DASHBOARD["panels"], 2):
        assert apart(one["gridPos"], other["gridPos"]), f"{one['title']} covers {other['title']}"
    assert all(one["gridPos"]["x"] + one["gridPos"]["w"] <= 24 for one in DASHBOARD["panels"])


def apart(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    return beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]

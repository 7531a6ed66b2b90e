"""Alerts and recording rules: read, and tried on made-up hours, by promtool itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.names import asked, known
from tests.deploy.promtool import promtool

FOLDER = ROOT / "deploy/prometheus"
FILES = ("rules.yml", "alerts.yml")


def rules() -> list[dict[str, Any]]:
    groups = [group for name in FILES for group in yaml.safe_load((FOLDER / name).read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def tried() -> Iterator[tuple[bool, set[str]]]:
    """Yield, for each moment that is tried, whether nothing fires, and what does."""
    for one in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]:
        for check in one["promql_expr_test"]:
            firing = {re.findall(r'"(.+)"', sample["labels"])[0] for sample in check["exp_samples"]}
            yield not firing, firing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the folder, with a token, as an operator would have it."""
    copy = tmp_path / "prometheus"
    shutil.copytree(FOLDER, copy)
    (copy / "opsbrain-metrics-token").write_text("not-a-token")
    return copy


@pytest.mark.prometheus2
def test_promtool_takes_the_rules() -> None:
    assert "rules found" in promtool("check", "rules", *FILES, folder=FOLDER)


@pytest.mark.prometheus2
def test_every_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml", folder=FOLDER)


@pytest.mark.prometheus2
def test_promtool_takes_the_scrape_configuration(folder: Path) -> None:
    promtool("check", "config", "prometheus.yml", folder=folder)


@pytest.mark.prometheus3
def test_a_newer_prometheus_takes_rules_and_the_kubernetes_configuration(folder: Path, prometheus3: Any) -> None:
    # Debian's is built without its discovery of Kubernetes
    config = yaml.safe_load((folder / "prometheus-kubernetes.yml").read_text())
    config["rule_files"] = [str(folder / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["authorization"]["credentials_file"] = str(folder / "opsbrain-metrics-token")
    with prometheus3(config) as web:
        groups = web.get("/api/v1/rules")["data"]["groups"]
        taken = web.get("/api/v1/status/config")["data"]["yaml"]
    assert {rule["name"] for group in groups for rule in group["rules"]} == RECORDED | {one["alert"] for one in ALERTS}
    assert "role: pod" in taken


def test_every_alert_is_tried_firing_and_a_healthy_worker_is_tried_quiet() -> None:
    moments = list(tried())
    assert set().union(*(firing for _, firing in moments)) == {one["alert"] for one in ALERTS}
    assert any(quiet for quiet, _ in moments)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_ask_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert asked(rule["expr"]) <= known() | RECORDED


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("OpsBrain")
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/operating.md#{alert['alert'].lower()}"


def test_names_of_alerts_are_there_once() -> None:
    names = [one["alert"] for one in ALERTS]
    assert sorted(set(names)) == sorted(names)

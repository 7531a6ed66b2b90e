"""docs/operating.md has a section for every alert, and what it names exists."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from opsbrain.settings import Settings
from opsbrain.settings_load import load_settings
from tests.conftest import ROOT
from tests.deploy.names import asked, known
from tests.deploy.test_prometheus import ALERTS

PAGE = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
METRICS_PAGE = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
_CODE = re.compile(r"`([^`\n]+)`")


def blocks(language: str) -> list[str]:
    return [found[2] for found in _FENCE.finditer(PAGE) if found[1] == language]


def titles(text: str, level: str = "#+") -> list[str]:
    return re.findall(rf"^{level} (.+)$", _FENCE.sub("", text), re.MULTILINE)


def anchors(text: str) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles(text)}


def sections() -> dict[str, str]:
    """Return the text of every alarm's section, by its title."""
    parts = re.split(r"^### (\w+)$", PAGE.partition("\n## Alarms\n")[2], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def keys(of: type, prefix: str = "") -> Iterator[str]:
    for field in dataclasses.fields(of):
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else None  # type: ignore[misc]
        yield f"{prefix}{field.name}"
        if dataclasses.is_dataclass(made):
            yield from keys(type(made), f"{prefix}{field.name}.")


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    assert set(sections()) == {one["alert"] for one in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_a_section_begins_with_how_bad_it_is(alert: dict[str, object]) -> None:
    severity = alert["labels"]["severity"]  # type: ignore[index]
    assert sections()[str(alert["alert"])].strip().startswith(f"*{severity}.*")


def test_links_lead_somewhere() -> None:
    for name, anchor in _LINK.findall(_FENCE.sub("", PAGE)):
        target = (ROOT / "docs" / name).resolve() if name else ROOT / "docs/operating.md"
        assert target.exists(), name
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), f"{name}#{anchor}"


def test_settings_that_are_named_exist() -> None:
    there = set(keys(Settings))
    sections_of_settings = {key for key in there if "." not in key}
    named = {code for code in _CODE.findall(PAGE) if re.fullmatch(r"(\w+)(\.\w+)+", code)}
    ours = {code for code in named if code.partition(".")[0] in sections_of_settings}
    assert ours <= there, ours - there
    assert "worker.memory_limit_mb" in ours


def test_metrics_that_are_named_exist() -> None:
    named = {name for code in _CODE.findall(PAGE) for name in asked(code)}
    assert named
    assert named <= known()


def test_every_metric_of_alerts_and_dashboard_is_in_the_table_of_metrics() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/opsbrain.json").read_text(encoding="utf-8"))
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"][0]["rules"]
    expressions = [*panels, *(one["expr"] for one in ALERTS), *(one["expr"] for one in rules)]
    wanted = {name for one in expressions for name in asked(one) if ":" not in name}
    assert wanted <= set(re.findall(r"^\| `(\w+)` \|", METRICS_PAGE, re.MULTILINE))


@pytest.mark.parametrize("block", blocks("toml"))
def test_settings_that_are_pasted_load(block: str, tmp_path: Path) -> None:
    file = tmp_path / "opsbrain.toml"
    file.write_text(block, encoding="utf-8")
    load_settings(file, {})


def test_inhibitions_name_alerts_and_alertmanager_takes_them(tmp_path: Path) -> None:
    config = yaml.safe_load(blocks("yaml")[0])
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = re.compile(matcher.split("=", 1)[1].lstrip("~").strip().strip('"'))
            alternatives = matcher.count("|") + 1
            assert sum(bool(pattern.fullmatch(one["alert"])) for one in ALERTS) == alternatives, matcher
    if (amtool := shutil.which("amtool")) is None:
        pytest.skip("amtool is not here")
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump({**config, "route": {"receiver": "none"}, "receivers": [{"name": "none"}]}))
    done = subprocess.run([amtool, "check-config", file], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

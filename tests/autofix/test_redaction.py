"""A value that was removed when it was read never goes back into a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from autofix.examples import (
    ONSET_MS,
    SERVICE,
    anomaly,
    change_of,
    config_map,
    deployment,
    inventory_of,
    situation_of,
)
from autofix.patch import Manifest, edit, parse_manifest
from autofix.playbooks.restore_configmap import RestoreConfigMap
from autofix.playbooks.rollback_deployment import RollbackDeployment
from autofix.policy import PolicyConfig, Refused
from autofix.proposer import ProposerConfig
from autofix.prove import prove
from autofix.situation import Draft
from engine.types import CHECKS, Outcome
from ingest.manifest import canonical
from ingest.scrub import Scrubber

FILE = "url=db:3306\npassword=hunter2\ntimeout={}\n"


def read(manifest: Manifest) -> Manifest:
    return parse_manifest(canonical(manifest, Scrubber()))


def with_env(*variables: tuple[str, str], image: str = "payments:1.4.2") -> Manifest:
    manifest = deployment(image)
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": name, "value": value} for name, value in variables]
    return manifest


def permitted(playbook: Any, kind: str, before: Manifest, after: Manifest) -> tuple[Outcome, str]:
    before, after = read(before), read(after)
    at_ms = ONSET_MS - 30_000
    change = change_of(before, after, SERVICE, at_ms, kind, "payments changed")
    versions = [(before, SERVICE, at_ms - 3_600_000), (after, SERVICE, at_ms)]
    if kind == "config":
        versions.insert(0, (deployment(), SERVICE, at_ms - 3_600_000))
    situation = situation_of(inventory_of(*versions), [anomaly(SERVICE, "span.error_ratio", 1, 0.6, "ratio")], [change])
    draft = playbook.propose(situation)
    assert isinstance(draft, Draft), draft
    verdict = {one.check: one for one in prove(draft, situation.inventory, PolicyConfig())}[CHECKS[1]]
    considered = (
        ProposerConfig(playbooks=(playbook.name,))
        .build()
        .consider(situation.incident, situation.incident.ranking, situation.inventory, situation.now_ms)
    )
    assert bool(considered.fixes) == (verdict.outcome is Outcome.PASSED)
    return verdict.outcome, verdict.showed


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ({"app.ini": FILE.format(2000)}, {"app.ini": FILE.format(2)}, "'<scrubbed>' at /data/app.ini"),
        ({"DB_PASSWORD": "one", "MODE": "a"}, {"MODE": "a"}, "/data/DB_PASSWORD of ConfigMap payments"),
        ({"MODE": "a"}, {"DB_PASSWORD": "one", "MODE": "a"}, "/data/DB_PASSWORD of ConfigMap payments"),
        ({"DB_PASSWORD": "one"}, {"DB_PASSWORD": "two"}, "would expect 'sha256:"),
        ({"DB_PASSWORD": "one", "MODE": "a"}, {"DB_PASSWORD": "one"}, "/data/DB_PASSWORD"),
    ],
)
def test_a_config_map_is_not_restored_to_marks(before: dict[str, str], after: dict[str, str], says: str) -> None:
    outcome, showed = permitted(RestoreConfigMap(), "config", config_map(**before), config_map(**after))
    assert outcome is Outcome.FAILED
    assert says in showed
    assert "not recorded" in showed


def test_a_rollback_does_not_set_a_variable_to_a_hash() -> None:
    before, after = with_env(("API_TOKEN", "one")), with_env(("API_TOKEN", "two"), image="payments:1.5.0")
    outcome, showed = permitted(RollbackDeployment(), "deployment", before, after)
    assert outcome is Outcome.FAILED
    assert "would expect 'sha256:" in showed


def test_what_is_not_touched_may_be_secret() -> None:
    before, after = with_env(("API_TOKEN", "one")), with_env(("API_TOKEN", "one"), image="payments:1.5.0")
    assert permitted(RollbackDeployment(), "deployment", before, after)[0] is Outcome.PASSED
    settings = {"DB_PASSWORD": "one", "app.ini": FILE.format(1)}
    before, after = config_map(MODE="a", **settings), config_map(MODE="b", **settings)
    assert permitted(RestoreConfigMap(), "config", before, after)[0] is Outcome.PASSED


def test_a_digest_of_an_image_is_no_mark() -> None:
    before, after = deployment("payments@sha256:" + "0a" * 32), deployment("payments@sha256:" + "1b" * 32)
    assert permitted(RollbackDeployment(), "deployment", before, after)[0] is Outcome.PASSED


def test_the_undo_is_judged_too() -> None:
    good, _ = edit(("apps/v1", "Deployment", "shop", "payments"), deployment(), deployment("payments:2"))
    bad, _ = edit(("v1", "ConfigMap", "shop", "payments"), config_map(a="1"), config_map(a="x=<scrubbed>"))
    ruling = PolicyConfig().judge([good], [], (SERVICE,), [bad])
    assert isinstance(ruling, Refused)
    assert ruling.reason.startswith("its undo would write '<scrubbed>' at /data/a of ConfigMap payments")

"""Manifests and units: valid where they will be read, and at one with the settings and promises of the product."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from opsbrain.access import HOOKS, INGEST, METRICS, Access, check_reach
from opsbrain.kafka_config import kafka_config
from opsbrain.notify.registry import build_notifiers
from opsbrain.receiving import topics_of
from opsbrain.settings import Settings
from opsbrain.settings_load import load_settings
from opsbrain.wiring import engine_config
from tests.conftest import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
MANIFESTS: list[dict[str, Any]] = [
    one for file in sorted(KUBERNETES.glob("*.yaml")) for one in yaml.safe_load_all(file.read_text())
]
WORKLOADS = [one for one in MANIFESTS if one["kind"] in {"StatefulSet", "Deployment"}]
GRACE_S = 10  # what SIGTERM is given by the product itself
SECRETS = "/run/secrets/opsbrain"


def named(kind: str, name: str) -> dict[str, Any]:
    return next(one for one in MANIFESTS if one["kind"] == kind and one["metadata"]["name"] == name)


def title(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def container(workload: dict[str, Any]) -> dict[str, Any]:
    return workload["spec"]["template"]["spec"]["containers"][0]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of the ConfigMap, with its secrets in a folder of this test."""
    text = named("ConfigMap", "opsbrain")["data"]["opsbrain.toml"].replace(SECRETS, str(tmp_path))
    for name in re.findall(rf"file:{tmp_path}/([\w-]+)", text):
        (tmp_path / name).write_text("whsec_bm90LWEtc2VjcmV0LWF0LWFsbC1yZWFsbHk=")
    file = tmp_path / "opsbrain.toml"
    file.write_text(text)
    return load_settings(file, {})


@pytest.mark.parametrize("manifest", MANIFESTS, ids=title)
@pytest.mark.parametrize("version", ["1.32", "1.35"])
def test_kubernetes_schemas_take_every_manifest(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.cluster
def test_a_cluster_takes_every_manifest(cluster: Any, tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not here")
    done = subprocess.run(
        [kubectl, f"--kubeconfig={cluster.kubeconfig}", "apply", "--dry-run=server", "-f", str(KUBERNETES)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert done.stdout.count("(server dry run)") == len(MANIFESTS)


def test_the_settings_of_the_configmap_start_workers_and_receivers(settings: Settings) -> None:
    kafka_config(settings, needs_telemetry=True)
    engine_config(settings)
    assert [one.name for one in build_notifiers(settings.notify)] == ["on-call"]
    assert topics_of(settings)
    access = Access(settings.http, settings.receivers, console=False)
    check_reach(settings.http.host, access, (INGEST, HOOKS, METRICS), "set a token")


def test_every_secret_that_settings_name_is_one_that_the_comment_makes() -> None:
    text = (KUBERNETES / "config.yaml").read_text()
    assert set(re.findall(rf"file:{SECRETS}/([\w-]+)", text)) == set(re.findall(r"--from-file=([\w-]+)", text))


@pytest.mark.parametrize("workload", WORKLOADS, ids=title)
def test_workloads_are_asked_stopped_spread_and_confined(workload: dict[str, Any]) -> None:
    pod, one, labels = workload["spec"]["template"]["spec"], container(workload), workload["metadata"]["labels"]
    assert one["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert one["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["terminationGracePeriodSeconds"] > GRACE_S
    assert pod["securityContext"]["runAsNonRoot"]
    assert one["securityContext"]["readOnlyRootFilesystem"]
    assert pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == labels
    assert workload["spec"]["selector"]["matchLabels"] == labels == workload["spec"]["template"]["metadata"]["labels"]
    budget = named("PodDisruptionBudget", workload["metadata"]["name"])
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert named("Service", workload["metadata"]["name"])["spec"]["selector"] == labels


@pytest.mark.parametrize("workload", WORKLOADS, ids=title)
def test_what_is_mounted_is_what_the_settings_read(workload: dict[str, Any], settings: Settings) -> None:
    pod, one = workload["spec"]["template"]["spec"], container(workload)
    mounts = {mount["mountPath"]: mount["name"] for mount in one["volumeMounts"]}
    volumes = {volume["name"] for volume in pod["volumes"]}
    claimed = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
    assert set(mounts.values()) == volumes | claimed
    assert {SECRETS, str(settings.store.folder), "/tmp", str(Path(one["args"][-1]).parent)} == set(mounts)


def test_the_ports_are_those_of_the_settings(settings: Settings) -> None:
    worker, receive = (container(one)["ports"] for one in (worker_of(), named("Deployment", "opsbrain-receive")))
    assert [port["containerPort"] for port in worker] == [int(settings.worker.listen.rpartition(":")[2])]
    assert [port["containerPort"] for port in receive] == [settings.http.port, settings.receivers.grpc_port]


def worker_of() -> dict[str, Any]:
    return named("StatefulSet", "opsbrain-worker")


def test_a_worker_has_a_quarter_more_memory_than_it_may_take(settings: Settings) -> None:
    limits = container(worker_of())["resources"]["limits"]
    assert mib(limits["memory"]) * 0.8 >= settings.worker.memory_limit_mb
    assert limits == {"memory": container(worker_of())["resources"]["requests"]["memory"]}
    unit = next(unit for unit in UNITS if "worker" in unit.name)
    assert mib(service_of(unit)["MemoryMax"] + "i") * 0.8 >= Settings().worker.memory_limit_mb


def mib(text: str) -> int:
    return int(text.removesuffix("Gi")) * 1024


def test_no_more_workers_than_partitions(settings: Settings) -> None:
    assert worker_of()["spec"]["replicas"] <= settings.kafka.partitions


def service_of(unit: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text())
    return dict(parser["Service"])


def command_of(unit: Path, instance: str) -> list[str]:
    """Return the words that systemd would start, for an instance of the unit."""
    service = service_of(unit)
    name, _, value = service.get("Environment", "").partition("=")
    return service["ExecStart"].replace("%i", instance).replace(f"${{{name}}}", value).split()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    program = service_of(unit)["ExecStart"].split()[0]
    file = tmp_path / unit.name.replace("@", "@9108")
    file.write_text(unit.read_text().replace(program, "/bin/true"))  # ours need not be installed here
    done = subprocess.run(
        [analyze, "verify", "--man=no", file], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert unit.name.partition("@")[0] not in done.stderr  # warnings about this unit; about others' they do not matter


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_start_again_but_not_with_wrong_settings(unit: Path) -> None:
    service = service_of(unit)
    assert service["RestartPreventExitStatus"] == "2"
    assert service["Restart"] == "on-failure"
    assert int(service["TimeoutStopSec"]) > GRACE_S


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_units_set_are_settings(unit: Path) -> None:
    words = command_of(unit, "9108")
    flags = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    settings = load_settings(None, {}, flags)
    assert str(settings.store.folder) == f"/var/lib/{service_of(unit)['StateDirectory'].replace('%i', '9108')}"


def test_toml_of_the_configmap_is_as_it_is_pasted() -> None:
    assert tomllib.loads(named("ConfigMap", "opsbrain")["data"]["opsbrain.toml"])["kafka"]["partitions"]

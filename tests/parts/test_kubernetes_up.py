"""`opsbrain up` follows a real cluster, is killed, and goes on: every event is counted once."""

import json
import sys

import pytest

from tests.parts.processes import Program, eventually, fetch, free_port
from tests.parts.test_kubernetes_watch import Kubectl


@pytest.fixture
def up(cluster, namespace, tmp_path):
    port = free_port()
    settings = {
        "http.port": port,
        "receivers.grpc_port": 0,
        "store.folder": tmp_path / "store",
        "pull.kubernetes.enabled": "true",
        "pull.kubernetes.kubeconfig": cluster.reader_kubeconfig,
        "pull.kubernetes.namespaces": f'["{namespace}"]',
    }
    flags = [flag for key, value in settings.items() for flag in ("--set", f"{key}={value}")]
    program = Program([sys.executable, "-m", "opsbrain", "up", *flags], tmp_path / "log")
    yield program, f"http://127.0.0.1:{port}/sources"
    program.stop()


def counted(url, name):
    try:
        sources = json.loads(fetch(url))["sources"]
    except OSError:
        return {}
    return next(one for one in sources if one["name"] == name)


def once(url, name):
    """Return how many different rows of a source were seen, however often they came."""
    told = counted(url, name)
    return told.get("accepted", 0) + told.get("late", 0)


def test_every_event_is_counted_once_over_a_kill(cluster, namespace, up):
    kubectl, (program, url) = Kubectl(cluster, namespace), up
    program.start(lambda: bool(counted(url, "kubernetes-events")), timeout_s=60)
    kubectl.deploy("store", 2)
    kubectl.ready("store", 2)
    assert eventually(lambda: once(url, "kubernetes-events") == len(kubectl.said())), program.last_words()
    assert eventually(lambda: once(url, "kubernetes-objects") >= 4)  # a Deployment, a ReplicaSet, two pods

    program.kill()
    kubectl.patch("store", {"replicas": 5})
    kubectl.ready("store", 5)
    program.start(lambda: bool(counted(url, "kubernetes-events")), timeout_s=60)
    assert eventually(lambda: once(url, "kubernetes-events") == len(kubectl.said())), program.last_words()
    kubectl.deploy("huge", 1, cpu="64")
    assert eventually(lambda: any(reason == "FailedScheduling" for _, reason, _ in kubectl.said()))
    assert eventually(lambda: once(url, "kubernetes-events") == len(kubectl.said())), program.last_words()
    told = counted(url, "kubernetes-events")
    assert (told["dead_lettered"], told["dropped"]) == (0, {})
    assert "token" not in program.last_words()

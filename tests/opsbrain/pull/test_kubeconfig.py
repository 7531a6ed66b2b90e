"""A kubeconfig that is none is one line that names the key, and never quotes the file."""

from pathlib import Path

import pytest

from engine.errors import ConfigError
from opsbrain.pull.kubernetes_api import EVENTS, ClientAccess, ClusterConfig
from opsbrain.pull.kubernetes_watch import watches
from tests.opsbrain.pull.aws_double import Kept

WHOLE = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
users: [{name: u, user: {token: hunter2x}}]
"""

BROKEN = {
    "not YAML": b"a: [hunter2x",
    "plain text": b"hunter2x",
    "a number": b"3",
    "a list": b"[1, hunter2x]",
    "binary": b"\xff\xfe\x00hunter2x",
    "control characters": b"a: \x1b[2J",
    "empty": b"",
    "nested": b"[" * 5_000,
    "no entries": WHOLE.replace("clusters: [", "clusters: [7, ").encode(),
    "no user": WHOLE.replace("user: {token", "usr: {token").encode(),
    "no certificate": WHOLE.replace("server:", "certificate-authority-data: 'hunter2xx', server:")
    .replace("http:", "https:")
    .encode(),
    "no header": WHOLE.replace("hunter2x", "hunter2x\u0142").encode(),
    "another context": WHOLE.replace("current-context: c", "current-context: [d]").encode(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_kubeconfig_that_cannot_be_used_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_bytes(BROKEN[name])
    with pytest.raises(ConfigError) as caught:
        ClientAccess(ClusterConfig(str(path))).list(EVENTS)
    said = str(caught.value)
    assert said.startswith(f"pull.kubernetes.kubeconfig: {path}: ")
    assert said.isprintable()
    assert "hunter2" not in said


def test_the_line_of_a_mistake_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("a: 1\nb: [\nc: }\n")
    one = next(watches("pull.kubernetes", ClusterConfig(str(path)), tmp_path, Kept(), lambda: 0))
    with pytest.raises(ConfigError, match=r"not YAML \(line 3\)"):
        one.poll(0)

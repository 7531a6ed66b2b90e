"""How each program of others is started for a test: its own configuration as a dict, everything else on free ports."""

import json
import secrets
import socket
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.parts.processes import Program, answers, eventually, fetch, free_port, free_ports

_BUILD = ROOT / "deploy/parts/build.sh"
_CLUSTER = ROOT / "deploy/cluster/run.sh"
Config = Mapping[str, Any]


def folder_of(part: str) -> Path:
    """Return the folder with the programs of a part that is at hand."""
    path = subprocess.run([_BUILD, "path", part], capture_output=True, text=True, check=True)
    return Path(path.stdout.strip())


def _written(config: Config, path: Path) -> str:
    """Write ``config`` as JSON, which is YAML too, and return the path."""
    path.write_text(json.dumps(config))
    return str(path)


@dataclass(slots=True)
class Web(Program):
    """A program that answers HTTP at ``url``."""

    url: str = ""

    def get(self, path: str) -> Any:
        """Return the JSON that it answers to a GET of ``path``."""
        return json.loads(fetch(self.url + path))


def prometheus(part: str, work: Path, config: Config, *flags: str) -> Web:
    """Start Prometheus (part: prometheus2 or prometheus3) with ``config``, the content of its prometheus.yml."""
    url = f"127.0.0.1:{free_port()}"
    command = [
        str(folder_of(part) / "prometheus"),
        f"--config.file={_written(config, work / 'prometheus.yml')}",
        f"--storage.tsdb.path={work / 'data'}",
        f"--web.listen-address={url}",
        *flags,
    ]
    web = Web(command, work / "log", url=f"http://{url}")
    return web.start(lambda: answers(f"{web.url}/-/ready"))


def alertmanager(work: Path, config: Config) -> Web:
    """Start Alertmanager alone (no cluster) with ``config``, the content of its alertmanager.yml."""
    url = f"127.0.0.1:{free_port()}"
    command = [
        str(folder_of("alertmanager") / "prometheus-alertmanager"),
        f"--config.file={_written(config, work / 'alertmanager.yml')}",
        f"--storage.path={work / 'data'}",
        f"--web.listen-address={url}",
        "--cluster.listen-address=",
    ]
    web = Web(command, work / "log", url=f"http://{url}")
    return web.start(lambda: answers(f"{web.url}/-/ready"))


@dataclass(slots=True)
class Collector(Program):
    """A Collector; ``grpc`` and ``http`` are where it takes OTLP, empty where the test named receivers of its own."""

    grpc: str = ""
    http: str = ""


def collector(work: Path, config: Config) -> Collector:
    """Start the Collector with ``config``; where it names no receivers: `otlp` on free ports, in every pipeline."""
    grpc, http, receivers = "", "", config.get("receivers")
    if receivers is None:
        grpc, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        receivers = {"otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}}}
    service = config["service"]
    whole = {
        **config,
        "receivers": receivers,
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            **service,
            "pipelines": {name: {"receivers": ["otlp"], **pipe} for name, pipe in service["pipelines"].items()},
        },
    }
    command = [str(folder_of("collector") / "otelcol"), f"--config={_written(whole, work / 'collector.yaml')}"]
    one = Collector(command, work / "log", grpc=grpc, http=f"http://{http}" if http else "")
    return one.start(lambda: "Everything is ready" in one.last_words())


@dataclass(slots=True)
class Rsyslog(Program):
    """rsyslog, which takes lines over TCP on ``port``."""

    port: int = 0

    def send(self, lines: Iterable[str]) -> None:
        """Hand it log lines (RFC 3164 or 5424, or bare text) in one connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())


def rsyslog(work: Path, rules: str) -> Rsyslog:
    """Start rsyslog with ``rules`` (RainerScript: modules, templates, actions) fed by TCP on a free port."""
    port = free_port()
    (work / "rsyslog.conf").write_text(
        f'global(workDirectory="{work}")\nmodule(load="imtcp")\n{rules}\n'
        f'input(type="imtcp" address="127.0.0.1" port="{port}")\n'
    )
    command = [str(folder_of("rsyslog") / "rsyslogd"), "-n", "-f", str(work / "rsyslog.conf"), "-i", str(work / "pid")]
    return Rsyslog(command, work / "log", port=port).start(lambda: _listens(port))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kcat(bootstrap: str, topic: str, messages: Iterable[bytes], *flags: str) -> None:
    """Produce ``messages`` (no line feeds in them) to ``topic`` with kcat, and return once the broker has them all."""
    command = [str(folder_of("kcat") / "kcat"), "-P", "-E", "-b", bootstrap, "-t", topic, *flags]
    done = subprocess.run(command, input=b"\n".join(messages), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")


@dataclass(slots=True)
class Cluster(Program):
    """A control plane with three nodes that do not exist; what runs in it is real, but for the containers."""

    data: Path = field(default=Path())

    @property
    def kubeconfig(self) -> Path:
        """Return the kubeconfig of somebody who may do anything."""
        return self.data / "admin.kubeconfig"

    @property
    def reader_kubeconfig(self) -> Path:
        """Return the kubeconfig that OpsBrain would have: looks at workloads and events, may not see secrets."""
        return self.data / "opsbrain.kubeconfig"

    def api(self) -> Any:
        """Return a `kubernetes.client.ApiClient` that may do anything."""
        from kubernetes import config

        return config.new_client_from_config(str(self.kubeconfig))

    def stop_api(self) -> None:
        """Kill the API server alone: every connection to it drops, new ones are refused."""
        self._run("stop-api")

    def start_api(self) -> None:
        """Bring the API server back on the same port, and return once it is ready."""
        self._run("start-api")

    def compact(self) -> int:
        """Make every resourceVersion so far expire (a watch from it is answered 410 Gone); return the newest one."""
        return int(self._run("compact"))

    def _run(self, command: str) -> str:
        done = subprocess.run(
            [_CLUSTER, command, "--data", str(self.data)], capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def cluster(work: Path) -> Cluster:
    """Start a control plane whose watch cache is off, so that `compact` alone lets old resourceVersions expire."""
    data, port = work / "cluster", free_ports(3)[0]
    command = [str(_CLUSTER), "up", "--data", str(data), "--port", str(port), "--short-history"]
    one = Cluster(command, work / "log", data=data)
    return one.start(lambda: "Kubernetes answers at" in one.last_words(), timeout_s=90)


def namespace_name(text: str) -> str:
    """Return a name for a namespace made from a test's name, fresh each time."""
    words = "".join(letter if letter.isalnum() else "-" for letter in text.lower())[:30].strip("-")
    return f"{words}-{secrets.token_hex(3)}"


def make_namespace(cluster: Cluster, name: str) -> None:
    """Make a namespace, and return once the account that its pods run as is there."""
    from kubernetes import client

    core = client.CoreV1Api(cluster.api())
    core.create_namespace({"metadata": {"name": name}})
    accounts = lambda: core.list_namespaced_service_account(name).items  # noqa: E731
    assert eventually(lambda: bool(accounts())), f"no service account in {name}"


def delete_namespace(cluster: Cluster, name: str) -> None:
    """Ask for the end of a namespace; the controllers see to it while the next test runs."""
    from kubernetes import client

    client.CoreV1Api(cluster.api()).delete_namespace(name)

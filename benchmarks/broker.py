"""A real Apache Kafka for a benchmark: the one named by $OPSBRAIN_BENCH_BOOTSTRAP, or one of our own on free ports.

Our own needs Java 17 and the jars in the cache folder (`deploy/kafka/run.sh jars` fetches them once). It keeps its data
in a temporary folder and is stopped at the end, however the benchmark ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import SourceError

BOOTSTRAP: Final = "OPSBRAIN_BENCH_BOOTSTRAP"
_RUN: Final = Path(__file__).parents[1] / "deploy" / "kafka" / "run.sh"
_START_TIMEOUT_S: Final = 240  # the first start fetches 54 MB of jars
_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that answers, and what begins the names of this run's topics and groups.

    `pid` and `data` are None where it was there before us: its load cannot be told then.
    """

    bootstrap: str
    run: str = "bench"
    pid: int | None = None
    data: Path | None = None


@contextmanager
def broker() -> Iterator[Broker]:
    """Yield a broker; raise SourceError, in one line that says how to get one, when there is none."""
    named = os.environ.get(BOOTSTRAP, "")
    if named:
        _reach(named)
        run = f"bench-{time.time_ns():x}"
        try:
            yield Broker(named, run)
        finally:
            delete_topics(named, run)
        return
    with tempfile.TemporaryDirectory(prefix="opsbrain-bench-kafka-") as folder:
        data = Path(folder)
        try:
            yield _start(data)
        finally:
            _run("stop", "--data", folder)


def create_topic(bootstrap: str, topic: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
    """Create a topic of a benchmark's own; raise SourceError when the broker does not."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    new = NewTopic(topic, partitions, 1, config={"retention.ms": "-1", "retention.bytes": "-1", **(config or {})})
    try:
        admin.create_topics([new])[topic].result(_ANSWER_S * 3)
    except KafkaException as error:
        raise SourceError(f"kafka: cannot create {topic} at {bootstrap}: {error.args[0].str()}") from error


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete every topic whose name begins so, to give the disk back; what cannot be deleted stays."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    ours = [name for name in admin.list_topics(timeout=_ANSWER_S).topics if name.startswith(prefix)]
    for future in admin.delete_topics(ours).values() if ours else ():
        try:
            future.result(_ANSWER_S)
        except KafkaException:
            continue  # it costs disk until the broker's own end


def _start(data: Path) -> Broker:
    check = _run("check")
    if check.returncode:
        raise SourceError(f"{check.stderr.strip()}; or name a running broker: {BOOTSTRAP}=host:port")
    port, controller_port = _free_ports()
    started = _run("start", "--data", str(data), "--port", str(port), "--controller-port", str(controller_port))
    if started.returncode:
        raise SourceError(f"{started.stderr.strip()}; or name a running broker: {BOOTSTRAP}=host:port")
    return Broker(f"127.0.0.1:{port}", pid=int((data / "pid").read_text()), data=data)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not _RUN.exists():
        return subprocess.CompletedProcess(arguments, 1, "", f"kafka: {_RUN.name} is not part of this installation")
    env = {"OPSBRAIN_KAFKA_HEAP": "1g", **os.environ}
    # `start` returns because the broker writes to files of its own and holds none of these pipes
    return subprocess.run(
        [str(_RUN), *arguments], capture_output=True, text=True, timeout=_START_TIMEOUT_S, check=False, env=env
    )


def _reach(bootstrap: str) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=_ANSWER_S)
    except KafkaException as error:
        raise SourceError(
            f"kafka: no broker answers at {bootstrap} ({error.args[0].str()}); see {BOOTSTRAP}"
        ) from error


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]

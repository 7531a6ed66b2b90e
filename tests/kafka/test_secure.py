"""TLS, users and rights on a real broker: workers need no more rights than doctor asks for, and errors are one line."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.errors import SourceError
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.probe import probe
from engine.runners.kafka.topics import create_topics, reach
from engine.runners.kafka.trouble import Refused
from opsbrain.kafka_clocks import newest_ms
from opsbrain.kafka_rights import commands
from tests.kafka.secure import KEY_PASSWORD, PASSWORD, Secure, closed_port, secure_broker, token_server
from tests.kafka.topics import end
from tests.kafka.workers import Cluster, opsbrain, working

WAYS = ("tls", "mtls", "scram", "password")
TOKEN_URL = "sasl.oauthbearer.token.endpoint.url"
T0_S = 1_700_000_000
LINE = {"log": "INFO all is well", "kubernetes": {"pod_name": "store-0", "namespace_name": "shop"}}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    with secure_broker(tmp_path_factory.mktemp("secure")) as broker:
        yield broker


@pytest.fixture(scope="module")
def token_url() -> Iterator[str]:
    with token_server() as url:
        yield url


def config(secure: Secure, way: str, user: str = "root", bootstrap: str = "", **more: str) -> KafkaConfig:
    security = {**secure.security(way, user), **{key.replace("__", "."): value for key, value in more.items()}}
    return KafkaConfig(bootstrap or getattr(secure, way), (), (), security=security)


def section(security: Mapping[str, str]) -> str:
    """Return settings as they are written in a file."""
    return "[kafka.security]\n" + "".join(f"{json.dumps(key)} = {json.dumps(one)}\n" for key, one in security.items())


def findings(*flags: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = opsbrain("doctor", "--json", "--set", "http.port=0", *flags)
    assert done.stderr == "" and PASSWORD not in done.stdout and KEY_PASSWORD not in done.stdout
    return done.returncode, {one["name"]: one for one in json.loads(done.stdout)["findings"]}


# --- who gets in


@pytest.mark.parametrize("way", WAYS)
def test_both_clients_come_through(secure: Secure, way: str) -> None:
    told = config(secure, way)
    reach(told)
    assert [one.error for one in probe(told)] == [""]


def test_certificates_may_be_given_as_text(secure: Secure) -> None:
    files = secure.certificates
    told = KafkaConfig(
        secure.mtls,
        (),
        (),
        security={
            "security.protocol": "SSL",
            "ssl.ca.pem": (files / "ca.crt").read_text(),
            "ssl.certificate.pem": (files / "client.crt").read_text(),
            "ssl.key.pem": (files / "client.key").read_text(),
            "ssl.key.password": KEY_PASSWORD,
        },
    )
    reach(told)
    assert [one.error for one in probe(told)] == [""]


def test_tokens_are_fetched_and_a_wrong_secret_is_told(secure: Secure, token_url: str) -> None:
    security = {**secure.security("token"), TOKEN_URL: token_url}
    told = KafkaConfig(secure.token, (), (), security=security)
    reach(told)
    assert [one.error for one in probe(told)] == [""]
    wrong = KafkaConfig(secure.token, (), (), security={**security, "sasl.oauthbearer.client.secret": "wrong-secret"})
    with pytest.raises(Refused, match=r"sasl\.oauthbearer") as refused:
        reach(wrong)
    (answer,) = probe(wrong)
    assert answer.error and "wrong-secret" not in f"{refused.value} {answer.error}"


@pytest.mark.parametrize(
    ("way", "more", "says"),
    [
        ("scram", {"sasl__password": "wrong"}, "refuses the user or its password"),
        ("password", {"sasl__password": "wrong"}, "refuses the user or its password"),
        ("password", {"sasl__mechanism": "SCRAM-SHA-256"}, "it takes PLAIN"),
        ("tls", {"ssl__ca__location": "other-ca.crt"}, "an authority that is not known here"),
        ("scram", {"ssl__ca__location": "other-ca.crt"}, "an authority that is not known here"),
        ("tls", {"bootstrap": "127.0.0.1"}, "the broker's certificate is not for 127.0.0.1"),
    ],
)
def test_who_is_refused_is_told_why_in_one_line(secure: Secure, way: str, more: dict[str, str], says: str) -> None:
    if "ssl__ca__location" in more:
        more = {"ssl__ca__location": str(secure.certificates / more["ssl__ca__location"])}
    if "bootstrap" in more:
        more = {"bootstrap": secure.tls.replace("localhost", "127.0.0.1")}
    told = config(secure, way, **more)
    began_s = time.monotonic()
    with pytest.raises(Refused, match=says) as refused:
        reach(told)
    assert time.monotonic() - began_s < 4, "it is known at once, and need not be waited for"
    assert "\n" not in str(refused.value) and "wrong" not in str(refused.value)
    assert [bool(one.error) for one in probe(told)] == [True]


def test_a_broker_that_asks_for_a_certificate_says_so(secure: Secure) -> None:
    told = KafkaConfig(secure.mtls, (), (), security=secure.security("tls"))
    with pytest.raises(Refused, match=r"ssl\.certificate\.location"):
        reach(told)


def test_a_worker_that_is_refused_ends_with_one_line(secure: Secure, tmp_path: Path) -> None:
    wrong = {**secure.security("scram"), "sasl.password": "wrong-password"}
    made = Cluster.over(
        secure.scram, tmp_path, "refused", {"t": "fluentbit"}, scope="x", resolution_s=10, more=section(wrong)
    )
    done = opsbrain("worker", "--config", str(made.settings), "--set", "worker.listen=")
    assert done.returncode == 1 and "wrong-password" not in done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert "refuses the user or its password" in line


def test_of_several_brokers_one_may_be_away(secure: Secure) -> None:
    away = f"localhost:{closed_port()}"
    told = config(secure, "scram", bootstrap=f"{away},{secure.scram}")
    reach(told)
    assert [one.error for one in probe(told)] == ["connection refused", ""]


# --- what they may do


def test_a_worker_needs_no_more_than_doctor_asks_for(secure: Secure, tmp_path: Path) -> None:
    """A user without any right gets each right by the command that doctor prints, until doctor is content."""
    name = f"least-{time.time_ns()}"
    topic = f"{name}.telemetry"
    _telemetry(secure, topic)
    made = Cluster.over(
        secure.scram,
        tmp_path,
        name,
        {topic: "fluentbit"},
        scope="x",
        resolution_s=10,
        more=section(secure.security("scram", "worker")),
    )
    flags = ("--config", str(made.settings))
    status, found = findings(*flags)
    lacking = [key for key, one in found.items() if key.startswith("right ") and one["outcome"] == "failed"]
    assert status == 1 and lacking == [
        "right to read telemetry",
        "right to read our topics",
        "right to write our topics",
        "right to create our topics",
        "right to read as a group",
    ]
    assert found[f"topic {topic}"]["outcome"] == "failed"

    root = KafkaConfig(secure.plain, (), (), topic_prefix=f"{name}.", partitions=4)
    create_topics(root)  # by somebody who may
    for command in lacking:
        if "create" not in command:
            _give(secure, found[command]["text"].partition(": ")[2])
    time.sleep(0.5)  # rights reach the broker's cache a moment later
    status, found = findings(*flags)
    assert status == 0, {key: one for key, one in found.items() if one["outcome"] == "failed"}
    assert found["clock of the broker"]["outcome"] == "ok" and "acknowledged" in found["clock of the broker"]["text"]
    assert found[f"clock of {topic}"]["outcome"] == "ok"

    with working(made) as workers:
        workers.start()
        workers.wait_until_done()
        status, found = findings(*flags)
        assert (status, found[f"group {name}-decode"]["text"]) == (0, "1 worker, 0 messages behind")
        assert workers.stop() == [0], workers.said()
        exported = workers.export()
    assert json.loads((exported / "summary.json").read_text())["rows"]["accepted"] == 20
    assert PASSWORD not in workers.said()


@pytest.mark.parametrize("way", ["tls", "mtls", "password", "token"])
def test_a_worker_works_by_every_way_in(secure: Secure, tmp_path: Path, way: str, token_url: str) -> None:
    name = f"{way}-{time.time_ns()}"
    topic = f"{name}.telemetry"
    _telemetry(secure, topic)
    if way == "mtls":
        _give_all(secure, "User:O=shop,CN=worker-1")
    made = Cluster.over(
        getattr(secure, way),
        tmp_path,
        name,
        {topic: "fluentbit"},
        scope="x",
        resolution_s=10,
        partitions=2,
        more=section(secure.security(way) | ({TOKEN_URL: token_url} if way == "token" else {})),
    )
    with working(made) as workers:
        workers.start()
        workers.wait_until_done()
        assert workers.stop() == [0], workers.said()
        rows = json.loads((workers.export() / "summary.json").read_text())["rows"]
    assert rows["accepted"] == 20


def test_the_owner_of_a_certificate_is_named_as_the_broker_names_it(secure: Secure) -> None:
    told = config(secure, "mtls")
    argument = shlex.split(next(commands(told)).partition("--allow-principal ")[2])[0]
    done = subprocess.run(["bash", "-c", f'printf %s "{argument}"'], capture_output=True, text=True, check=True)
    assert done.stdout == "User:O=shop,CN=worker-1"


def test_whoever_may_not_create_topics_is_given_the_commands(secure: Secure, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        SourceError, match=r"cannot create topic opsbrain\.features: Authorization failed; 13 are missing"
    ):
        create_topics(config(secure, "password", "bare"))
    told = [one.getMessage() for one in caplog.records]
    assert len(told) == 13 and all(one.startswith("kafka-topics.sh ") for one in told)
    assert PASSWORD not in "".join(told)


def test_topics_can_be_made_ahead(secure: Secure) -> None:
    from confluent_kafka.admin import AdminClient

    prefix = f"ahead-{time.time_ns()}."
    flags = ("--set", f"kafka.bootstrap={secure.plain}", "--set", f"kafka.topic_prefix={prefix}")
    printed = opsbrain("doctor", "--topics", *flags)
    assert printed.returncode == 0 and printed.stdout.count("kafka-topics.sh ") == 13, printed.stderr
    admin = AdminClient({"bootstrap.servers": secure.plain})
    assert not any(one.startswith(prefix) for one in admin.list_topics(timeout=20).topics)
    made = opsbrain("doctor", "--create-topics", "--set", "http.port=0", "--json", *flags)
    found = {one["name"]: one["outcome"] for one in json.loads(made.stdout)["findings"]}
    assert found["our topics"] == found["clock of the broker"] == "ok"
    there = admin.list_topics(timeout=20).topics
    assert sum(one.startswith(prefix) for one in there) == 13


def test_the_times_of_telemetry_are_seen(secure: Secure) -> None:
    from confluent_kafka import Producer

    topic = f"ahead-{time.time_ns()}"
    _telemetry(secure, topic)
    producer = Producer({"bootstrap.servers": secure.plain})
    ahead_ms = int(time.time() * 1000) + 600_000
    producer.produce(topic, b"{}", timestamp=ahead_ms)
    assert producer.flush(20) == 0
    assert newest_ms(KafkaConfig(secure.plain, (), ()), topic, 2) == ahead_ms


def _telemetry(secure: Secure, topic: str) -> None:
    """Make a topic of telemetry with twenty lines, and its end."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": secure.plain})  # held: the answer ends with it
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(20)
    producer = Producer({"bootstrap.servers": secure.plain})
    for number in range(20):
        producer.produce(topic, json.dumps({"@timestamp": T0_S + number, **LINE}).encode(), partition=number % 2)
    assert producer.flush(20) == 0
    end(secure, topic, 2)


def _give(secure: Secure, command: str) -> None:
    """Do what a printed command of kafka-acls.sh does, by whoever may."""
    from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

    words = shlex.split(command)
    assert words[0] == "kafka-acls.sh" and "--add" in words
    told = {key: words[at + 1] for at, key in enumerate(words[:-1]) if key.startswith("--")}
    kind, name = next((kind, told[f"--{kind}"]) for kind in ("topic", "group") if f"--{kind}" in told)
    pattern = told.get("--resource-pattern-type", "literal").upper()
    _allow(
        secure,
        told["--allow-principal"],
        ResourceType[kind.upper()],
        name,
        ResourcePatternType[pattern],
        AclOperation[told["--operation"].upper()],
    )


def _give_all(secure: Secure, principal: str) -> None:
    from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

    for kind in (ResourceType.TOPIC, ResourceType.GROUP):
        _allow(secure, principal, kind, "mtls-", ResourcePatternType.PREFIXED, AclOperation.ALL)


def _allow(secure: Secure, principal: str, kind: Any, name: str, pattern: Any, operation: Any) -> None:
    from confluent_kafka.admin import AclBinding, AclPermissionType, AdminClient

    binding = AclBinding(kind, name, pattern, principal, "*", operation, AclPermissionType.ALLOW)
    admin = AdminClient({"bootstrap.servers": secure.plain})
    for future in admin.create_acls([binding]).values():
        future.result(20)

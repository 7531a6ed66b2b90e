"""What a worker may do on the broker, and the command that gives a right that is missing.

The broker itself is asked what it would allow, so nothing is tried that leaves a trace. Rights on topics that are not
there yet cannot be seen; the commands give them with the rest.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.credentials import CERTIFICATE, principal
from opsbrain.finding import Finding
from opsbrain.kafka_look import ROLES, Look, Topic

_DOES: Final = {"READ": "read", "WRITE": "write", "CREATE": "create"}


def check_rights(config: KafkaConfig, seen: Look) -> Iterator[Finding]:
    """Yield a finding for each right that a worker needs."""
    telemetry = [seen.topics[one.topic] for one in config.telemetry]
    ours = [seen.topics[one.name] for one in seen.plans]
    yield _on_topics(config, "right to read telemetry", "READ", telemetry, "")
    yield _on_topics(config, "right to read our topics", "READ", ours, config.topic_prefix)
    yield _on_topics(config, "right to write our topics", "WRITE", ours, config.topic_prefix)
    if seen.missing:
        yield _to_create(config, seen)
    yield _on_groups(config, seen)


def commands(config: KafkaConfig) -> Iterator[str]:
    """Yield the commands that give a worker all rights that it needs, but for that to create topics."""
    for topic in dict.fromkeys(one.topic for one in config.telemetry):
        yield _command(config, "READ", f"--topic {shlex.quote(topic)}")
    for right in ("READ", "WRITE", "DESCRIBE_CONFIGS"):
        yield _command(config, right, _ours(config))
    yield _command(config, "READ", _groups(config))


def _on_topics(config: KafkaConfig, name: str, right: str, topics: Sequence[Topic], prefix: str) -> Finding:
    lacking = [one.name for one in topics if one.hidden or (one.rights is not None and right not in one.rights)]
    there = [one for one in topics if one.partitions]
    if not lacking:
        unseen = "" if len(there) == len(topics) else " (what is not there yet is not judged)"
        return Finding(name, "ok", f"{principal(config.security)} may {_DOES[right]} them{unseen}")
    on = _ours(config) if prefix else " ".join(f"--topic {shlex.quote(one)}" for one in lacking)
    return Finding(name, "failed", _lacks(config, right, _named(lacking), on))


def _to_create(config: KafkaConfig, seen: Look) -> Finding:
    lacking = [one.name for one in seen.missing if one.name not in seen.creatable]
    name = "right to create our topics"
    if not lacking:
        return Finding(name, "ok", f"{principal(config.security)} may create what is missing")
    other = "or let somebody who may run what `opsbrain doctor --topics` prints"
    return Finding(name, "failed", f"{_lacks(config, 'CREATE', _named(lacking), _ours(config))} ({other})")


def _on_groups(config: KafkaConfig, seen: Look) -> Finding:
    groups = [seen.groups[config.group(role)] for role in ROLES]
    lacking = [one.name for one in groups if one.rights is not None and "READ" not in one.rights]
    if not lacking:
        return Finding("right to read as a group", "ok", f"{principal(config.security)} may join {config.group('')}*")
    return Finding("right to read as a group", "failed", _lacks(config, "READ", _named(lacking), _groups(config)))


def _lacks(config: KafkaConfig, right: str, what: str, on: str) -> str:
    return f"{principal(config.security)} may not {_DOES[right]} {what}: {_command(config, right, on)}"


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _ours(config: KafkaConfig) -> str:
    if not config.topic_prefix:
        from engine.runners.kafka.plan import plan_of

        return " ".join(f"--topic {shlex.quote(one.name)}" for one in plan_of(config, 1))
    return f"--topic {shlex.quote(config.topic_prefix)} --resource-pattern-type prefixed"


def _groups(config: KafkaConfig) -> str:
    return f"--group {shlex.quote(config.group(''))} --resource-pattern-type prefixed"


def _command(config: KafkaConfig, right: str, on: str) -> str:
    operation = "".join(part.title() for part in right.split("_"))
    return (
        f"kafka-acls.sh --bootstrap-server {shlex.quote(config.bootstrap)} --command-config admin.properties --add "
        f"--allow-principal {_allowed(config.security)} --operation {operation} {on}"
    )


def _allowed(security: Mapping[str, str]) -> str:
    """Return who we are as an argument; the subject of a certificate is read where the command is run."""
    if (name := principal(security)) is not CERTIFICATE:
        return shlex.quote(name)
    file = shlex.quote(security.get("ssl.certificate.location", "client.crt"))
    return f'"User:$(openssl x509 -noout -subject -nameopt RFC2253 -in {file} | cut -c 9-)"'

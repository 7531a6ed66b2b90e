"""From settings to what the Kafka runner needs to know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from engine.errors import ConfigError
from engine.runners.kafka.config import KafkaConfig, RetentionHours, Telemetry
from engine.runners.kafka.credentials import check_security
from ingest.identity import Identity
from ingest.registry import format_of
from ingest.scrub import Scrubber
from opsbrain.secrets import Secret
from opsbrain.settings import Settings, TelemetryTopic
from opsbrain.wiring import scrubber_of

_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


def kafka_config(settings: Settings, *, needs_telemetry: bool = False) -> KafkaConfig:
    """Return the runner's configuration; raise ConfigError that names the key that is missing or wrong.

    Whoever only reads conclusions needs no topics of telemetry; a worker does.
    """
    kafka, hours = settings.kafka, settings.kafka.retention_hours
    if not kafka.bootstrap:
        raise ConfigError(
            "kafka.bootstrap is empty; name a broker, as in --set kafka.bootstrap=127.0.0.1:9092 "
            "(`make kafka` runs one there)"
        )
    _check_addresses(kafka.bootstrap)
    if needs_telemetry and not kafka.telemetry:
        raise ConfigError(
            "kafka.telemetry is empty; list the topics to read, each as {topic, format, scope} (docs/kafka.md)"
        )
    names = [one.topic for one in kafka.telemetry]
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise ConfigError(f"kafka.telemetry: the topic {twice[0]} is there twice; a topic has one format and one scope")
    identity = Identity(
        scope=settings.identity.scope,
        default_namespace=settings.identity.default_namespace,
        overrides=settings.identity.overrides,
    )
    telemetry = tuple(
        _telemetry(number, one, identity, scrubber_of(settings)) for number, one in enumerate(kafka.telemetry)
    )
    return KafkaConfig(
        bootstrap=kafka.bootstrap,
        telemetry=telemetry,
        scopes=tuple(sorted({one.scope or identity.scope for one in kafka.telemetry})),
        group_prefix=kafka.group_prefix,
        topic_prefix=kafka.topic_prefix,
        partitions=kafka.partitions,
        replication=kafka.replication,
        retention_hours=RetentionHours(hours.steps, hours.conclusions, hours.refused),
        session_timeout_s=kafka.session_timeout_s,
        checkpoint_every_s=kafka.checkpoint_every_s,
        idle_after_s=settings.pipeline.idle_after_s,
        start_from_ms=time_of("kafka.start_from", kafka.start_from),
        memory_limit_bytes=settings.worker.memory_limit_mb << 20,
        security=security_of(kafka.security),
    )


def security_of(told: Mapping[str, Secret]) -> dict[str, str]:
    """Return the security settings with their values; raise ConfigError for one that our clients cannot follow."""
    revealed = {name: secret.reveal(f"kafka.security.{name}") for name, secret in told.items()}
    check_security(revealed)
    return revealed


def time_of(key: str, text: str) -> int | None:
    """Return a time with its zone in milliseconds, None for an empty text; raise ConfigError that names the key."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ConfigError(f"{key}: '{text}' is not a time with its zone, as in 2026-11-21T06:00:00Z")
    return int(time.timestamp() * 1000)


def _check_addresses(bootstrap: str) -> None:
    for one in bootstrap.split(","):
        host, _, port = one.strip().rpartition("://")[2].rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ConfigError(f"kafka.bootstrap: '{one.strip()}' is not host:port, as in broker-1:9092,broker-2:9092")


def _telemetry(number: int, one: TelemetryTopic, identity: Identity, scrubber: Scrubber) -> Telemetry:
    if not _TOPIC.fullmatch(one.topic) or one.topic in (".", ".."):
        raise ConfigError(
            f"kafka.telemetry[{number}].topic: '{one.topic}' cannot be the name of a topic; "
            "Kafka takes 1 to 249 letters, digits, dots, underscores and hyphens"
        )
    scoped = replace(identity, scope=one.scope or identity.scope)
    try:
        return Telemetry(one.topic, format_of(one.format, scoped, scrubber))
    except ConfigError as error:
        raise ConfigError(f"kafka.telemetry[{number}].format: {error}") from error

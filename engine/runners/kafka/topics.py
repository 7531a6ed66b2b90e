"""Our topics, and the set of inputs that the telemetry topics' partitions make."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from engine.errors import Retryable, SourceError
from engine.runners.kafka.config import LARGEST_MESSAGE_BYTES, OUR_STREAMS, SNAPSHOTS, KafkaConfig
from engine.types import Inputs
from engine.window import WindowConfig

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
_PAUSE_S = 1.0

_STREAM: Final = {"cleanup.policy": "delete", "max.message.bytes": str(LARGEST_MESSAGE_BYTES)}
# small segments and an eager cleaner: only closed segments are compacted, and old snapshots should not outlive the day
_SNAPSHOTS: Final = {"cleanup.policy": "compact", "segment.bytes": "16777216", "min.cleanable.dirty.ratio": "0.1"}


def admin(config: KafkaConfig) -> AdminClient:
    """Return an admin client; raise SourceError when its settings are refused."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        return AdminClient(config.client(), logger=_quiet())
    except (KafkaException, ValueError) as error:
        raise SourceError(f"kafka: the client refuses its settings: {error}") from error


def reach(config: KafkaConfig) -> dict[str, int]:
    """Return the partitions of every topic there is; raise Retryable when no broker answers."""
    from confluent_kafka import KafkaException

    try:
        metadata = admin(config).list_topics(timeout=_TIMEOUT_S)
    except KafkaException as error:
        raise Retryable(
            f"kafka: no broker answers at {config.bootstrap} ({error.args[0].str()}); is it running, and is "
            "kafka.bootstrap right?",
            _PAUSE_S,
        ) from error
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def create_topics(config: KafkaConfig) -> None:
    """Create those of our topics that are missing; raise SourceError when one has another number of partitions."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic

    present = reach(config)
    wanted = {config.topic(stream): _STREAM for stream in OUR_STREAMS} | {config.topic(SNAPSHOTS): _SNAPSHOTS}
    for name in wanted:
        if present.get(name, config.partitions) != config.partitions:
            raise SourceError(
                f"kafka: topic {name} has {present[name]} partitions, settings say {config.partitions}; "
                "set kafka.partitions back or use another kafka.topic_prefix"
            )
    missing = [NewTopic(name, config.partitions, 1, config=how) for name, how in wanted.items() if name not in present]
    client = admin(config)  # held until the answers are there: they end with it
    for name, future in (client.create_topics(missing) if missing else {}).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was faster
                raise SourceError(f"kafka: cannot create topic {name}: {error.args[0].str()}") from error


def wait_for_telemetry(
    config: KafkaConfig,
    window: WindowConfig,
    stopped: Callable[[], bool],
    waits: Callable[[str], None] = lambda why: None,
) -> Inputs | None:
    """Return the declared inputs once the broker answers and every telemetry topic is there; None when stopped.

    `waits` is told what for, each time that it is something else. The set of inputs decides what a window waits for, so
    it must be whole before the first row is read.
    """
    said = ""
    while not stopped():
        try:
            present = reach(config)
            missing = [one.topic for one in config.telemetry if one.topic not in present]
            waiting = f"waiting for topic {', '.join(missing)}" if missing else ""
        except Retryable as error:
            waiting = f"{error}; trying again"
        if not waiting:
            return inputs_of(config, window, present)
        if waiting != said:
            log.warning("%s", waiting)
            waits(waiting)
            said = waiting
        time.sleep(_PAUSE_S)
    return None


def inputs_of(config: KafkaConfig, window: WindowConfig, partitions: dict[str, int]) -> Inputs:
    """Return the input partitions that the telemetry topics make, each with its resolution."""
    resolutions = {
        input_name(one.topic, number): window.resolution_of(one.format.kind)
        for one in sorted(config.telemetry, key=lambda one: one.topic)
        for number in range(partitions[one.topic])
    }
    return Inputs(resolutions, tuple(sorted(config.scopes)))


def input_name(topic: str, partition: int) -> str:
    """Return the name of the input that one partition of a telemetry topic is."""
    return f"{topic}/{partition}"


def _quiet() -> logging.Logger:
    # librdkafka repeats every refused connection; what an operator needs to know is said once, by us
    logger = logging.getLogger("opsbrain.librdkafka")
    logger.setLevel(logging.CRITICAL)
    return logger

"""Our topics, and the set of inputs that the telemetry topics' partitions make."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from engine.errors import Retryable, SourceError
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.plan import TopicPlan, creating, differences, plan_of
from engine.runners.kafka.trouble import Refused, Trouble
from engine.types import Inputs
from engine.window import WindowConfig

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient, ClusterMetadata

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
_PAUSE_S = 1.0
_SLICE_S: Final = 0.5  # between two looks at what the client says beside
_UNSEEN: Final = "not there, or not to be seen by this user: see `opsbrain doctor`"


def admin(config: KafkaConfig, trouble: Trouble | None = None) -> AdminClient:
    """Return an admin client; raise SourceError when its settings are refused. `trouble` hears what it says beside."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    told = {"error_cb": trouble} if trouble is not None else {}
    try:
        return AdminClient({**config.client(), **told}, logger=_quiet())
    except KafkaException as error:
        raise SourceError(f"kafka: the client refuses its settings: {error.args[0].str()}") from error
    except ValueError as error:
        raise SourceError(f"kafka: the client refuses its settings: {error}") from error


def reach(config: KafkaConfig) -> dict[str, int]:
    """Return the partitions of every topic that we may see; raise Retryable when no broker answers.

    Raises its subclass Refused when one answers that refuses us, or that is not the one it should be.
    """
    return {name: len(topic.partitions) for name, topic in metadata_of(config).topics.items()}


def metadata_of(config: KafkaConfig) -> ClusterMetadata:
    """Return brokers and topics as librdkafka knows them; raise as `reach` does."""
    from confluent_kafka import KafkaException

    trouble = Trouble()
    client = admin(config, trouble)
    until_s = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            return client.list_topics(timeout=_SLICE_S)
        except KafkaException as error:
            client.poll(0)
            if trouble.refused or time.monotonic() >= until_s:
                raise trouble.error(config) from error


def create_topics(config: KafkaConfig) -> None:
    """Create those of our topics that are missing; raise SourceError when one has another number of partitions.

    Topics that are there stay as they are: what differs from the settings is said, not changed. Where the broker
    forbids to create, the commands for somebody who may are said.
    """
    found = metadata_of(config)
    plans = plan_of(config, len(found.brokers))
    present = {name: len(topic.partitions) for name, topic in found.topics.items()}
    for plan in plans:
        if present.get(plan.name, plan.partitions) != plan.partitions:
            raise SourceError(
                f"kafka: topic {plan.name} has {present[plan.name]} partitions, settings say {plan.partitions}; "
                "set kafka.partitions back or use another kafka.topic_prefix"
            )
    client = admin(config)  # held until the answers are there: they end with it
    _warn_of_differences(client, [plan for plan in plans if plan.name in present])
    missing = [plan for plan in plans if plan.name not in present]
    refused = _create(client, config, missing)
    if refused:
        for plan in missing:
            if plan.name in refused:
                log.warning("%s", creating(plan, config))
        name, why = next(iter(refused.items()))
        raise SourceError(
            f"kafka: cannot create topic {name}: {why}; {len(refused)} are missing: let somebody who may run the "
            "commands above (`opsbrain doctor --topics` prints them), or give the right (`opsbrain doctor`)"
        )


def _create(client: AdminClient, config: KafkaConfig, plans: Sequence[TopicPlan]) -> dict[str, str]:
    """Create topics; return why, by name, for those that the broker did not let us create."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic

    asked = [NewTopic(one.name, one.partitions, one.copies, config=dict(one.settings)) for one in plans]
    refused: dict[str, str] = {}
    for name, future in (client.create_topics(asked) if asked else {}).items():
        try:
            future.result()
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.INVALID_REPLICATION_FACTOR and config.replication:
                raise SourceError(
                    f"kafka: kafka.replication is {config.replication}, and there are not as many brokers; lower it"
                ) from error
            if code != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was faster
                refused[name] = error.args[0].str().rstrip(".")
    return refused


def _warn_of_differences(client: AdminClient, plans: Sequence[TopicPlan]) -> None:
    found = configs_of(client, [plan.name for plan in plans])
    differing = [one for plan in plans for one in differences(plan, found.get(plan.name, {}))]
    if differing:
        more = f", and {len(differing) - 1} more" if len(differing) > 1 else ""
        log.warning("topics differ from settings: %s%s; `opsbrain doctor` says what to do", differing[0], more)


def configs_of(client: AdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the settings of those topics whose settings we may see."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import ConfigResource

    asked = [ConfigResource(ConfigResource.Type.TOPIC, one) for one in topics]
    found: dict[str, dict[str, str]] = {}
    for resource, future in (client.describe_configs(asked, request_timeout=_TIMEOUT_S) if asked else {}).items():
        try:
            found[resource.name] = {key: one.value for key, one in future.result().items() if one.value is not None}
        except KafkaException:
            continue  # not allowed to see them: nothing hangs on it, and `opsbrain doctor` tells
    return found


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
            waiting = f"waiting for topic {', '.join(missing)} ({_UNSEEN})" if missing else ""
        except Refused as error:
            raise SourceError(str(error)) from error
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

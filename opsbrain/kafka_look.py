"""What there is on the broker: topics, rights, groups. Asks only, and in a few seconds; judging is done elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.plan import TopicPlan, plan_of
from engine.runners.kafka.topics import admin, configs_of, metadata_of

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

TIMEOUT_S: Final = 10.0
ROLES: Final = ("decode", "steps", "notify")
"""The roles of a worker that are consumer groups."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: what it is, and what we may do with it.

    partitions   0 when it is not there, or not to be seen
    hidden       we may not even see whether it is there
    rights       what we may do, in Kafka's words (READ, WRITE, ...); None when the broker does not say
    copies       of each message, on the partition with the fewest
    in_sync      of these, how many are up to date, on the partition with the fewest
    leaderless   partitions that nobody serves
    settings     None when we may not see them
    """

    name: str
    partitions: int = 0
    hidden: bool = False
    rights: frozenset[str] | None = None
    copies: int = 0
    in_sync: int = 0
    leaderless: int = 0
    settings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """One consumer group; `rights` as for topics, `state` "" when it is not to be seen."""

    name: str
    state: str = ""
    members: int = 0
    rights: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """All that was seen. `creatable`: of our topics that are missing, those that we may create."""

    brokers: int
    plans: tuple[TopicPlan, ...]
    topics: Mapping[str, Topic]
    groups: Mapping[str, Group]
    creatable: frozenset[str] = field(default_factory=frozenset)

    @property
    def missing(self) -> list[TopicPlan]:
        """Return our topics that are not there."""
        return [one for one in self.plans if not self.topics[one.name].partitions]


def look_at(config: KafkaConfig) -> Look:
    """Return what there is; raise Retryable when no broker answers, and Refused when one does not let us in."""
    brokers = len(metadata_of(config).brokers)
    plans = plan_of(config, brokers)
    client = admin(config)
    names = list(dict.fromkeys([one.topic for one in config.telemetry] + [one.name for one in plans]))
    topics = _topics(client, names)
    missing = [one for one in plans if not topics[one.name].partitions]
    groups = _groups(client, [config.group(role) for role in ROLES])
    return Look(brokers, plans, topics, groups, _creatable(client, missing))


def _topics(client: AdminClient, names: Sequence[str]) -> dict[str, Topic]:
    from confluent_kafka import KafkaError, KafkaException, TopicCollection

    asked = client.describe_topics(
        TopicCollection(list(names)), include_authorized_operations=True, request_timeout=TIMEOUT_S
    )
    found = {}
    for name, future in asked.items():
        try:
            found[name] = future.result()
        except KafkaException as error:
            found[name] = error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    settings = configs_of(client, [name for name, one in found.items() if not isinstance(one, bool)])
    return {name: _topic(name, one, settings.get(name)) for name, one in found.items()}


def _topic(name: str, found: Any, settings: Mapping[str, str] | None) -> Topic:
    if isinstance(found, bool):
        return Topic(name, hidden=found)
    return Topic(
        name,
        len(found.partitions),
        rights=_rights(found.authorized_operations),
        copies=min(len(one.replicas) for one in found.partitions),
        in_sync=min(len(one.isr) for one in found.partitions),
        leaderless=sum(one.leader is None or one.leader.id < 0 for one in found.partitions),
        settings=settings,
    )


def _groups(client: AdminClient, names: Sequence[str]) -> dict[str, Group]:
    from confluent_kafka import KafkaError, KafkaException

    asked = client.describe_consumer_groups(list(names), include_authorized_operations=True, request_timeout=TIMEOUT_S)
    found = {}
    for name, future in asked.items():
        try:
            one = future.result()
            found[name] = Group(name, one.state.name, len(one.members), _rights(one.authorized_operations))
        except KafkaException as error:
            forbidden = error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED
            found[name] = Group(name, rights=frozenset() if forbidden else None)
    return found


def _rights(told: Iterable[Any] | None) -> frozenset[str] | None:
    return None if told is None else frozenset(one.name for one in told)


def _creatable(client: AdminClient, plans: Sequence[TopicPlan]) -> frozenset[str]:
    """Return the names of those that the broker would let us create; creates nothing."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import NewTopic

    asked = [NewTopic(one.name, one.partitions, one.copies, config=dict(one.settings)) for one in plans]
    allowed = set()
    for name, future in (client.create_topics(asked, validate_only=True) if asked else {}).items():
        try:
            future.result()
            allowed.add(name)
        except KafkaException:
            continue
    return frozenset(allowed)

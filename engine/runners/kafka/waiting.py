"""How long one waits for a broker: a command gives up after a while; a worker never does, until it is asked to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from engine.errors import OpsBrainError, Retryable, SourceError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

GRACE_S: Final = 3.0  # of the ten seconds that a worker has to end: the rest goes to leaving groups, and to spare
PATIENCE_S: Final = 30.0
RETRY_S: Final = 1.0


class Interrupted(OpsBrainError):
    """The worker was asked to stop while it waited for the broker: what is not committed is done again by another."""


class Patience(Protocol):
    """Decides whether to wait on."""

    def go_on(self, since_s: float, what: str) -> None:
        """Return when it makes sense to wait on for what is waited for since `since_s` (monotonic); raise if not."""
        ...


class AtMost:
    """The patience of a command: somebody sits in front of it."""

    def __init__(self, seconds: float = PATIENCE_S) -> None:
        self._seconds = seconds

    def go_on(self, since_s: float, what: str) -> None:
        """Raise SourceError when the time is over."""
        if time.monotonic() - since_s >= self._seconds:
            raise SourceError(f"kafka: {what}: no answer in {self._seconds:g} s")


class Stopping:
    """The patience of a worker: endless, until it is asked to stop; then what is under way has `GRACE_S` to end.

    Asked from outside (a signal sets `asked`), or by a role that cannot go on.
    """

    def __init__(self, asked: threading.Event | None = None, seconds: Callable[[], float] = time.monotonic) -> None:
        """Be asked by `asked`; `seconds` is the clock."""
        self.seconds = seconds
        self._asked = asked or threading.Event()
        self._given_up = threading.Event()
        self._since_s: float | None = None

    def __call__(self) -> bool:
        """Return whether to stop."""
        if self._since_s is None and (self._asked.is_set() or self._given_up.is_set()):
            self._since_s = self.seconds()
        return self._since_s is not None

    def ask(self) -> None:
        """Stop, because a role ended."""
        self._given_up.set()

    @property
    def failed(self) -> bool:
        """Return whether it stops without anybody outside having asked."""
        return not self._asked.is_set()

    def for_s(self) -> float:
        """Return since when it has been asked, in seconds; 0 when it was not."""
        return self.seconds() - self._since_s if self() and self._since_s is not None else 0.0

    def go_on(self, since_s: float, what: str) -> None:
        """Raise Interrupted when the grace is over."""
        if self.for_s() >= GRACE_S:
            raise Interrupted(f"kafka: {what}: no answer before the end")

    def pause(self, seconds: float) -> bool:
        """Wait that long, or until asked to stop; return whether that is so."""
        until_s = self.seconds() + seconds
        while not self() and (left_s := until_s - self.seconds()) > 0:
            self._asked.wait(min(left_s, 0.2))
        return self()


def passes(error: KafkaError) -> bool:
    """Return whether an error is one that passes: a broker that is away, starts, or moves what it coordinates."""
    from confluent_kafka import KafkaError

    return bool(error.retriable()) or error.code() in (
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN_TOPIC_OR_PART,  # a broker that has just started knows no topic yet
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.FENCED_LEADER_EPOCH,  # the first answer of a broker that was killed and is back
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError._DESTROY_BROKER,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._WAIT_COORD,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
    )


def begins_anew(error: KafkaError) -> bool:
    """Return whether a client is of no use any more after an error, but a new one would be."""
    from confluent_kafka import KafkaError

    codes = (KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._STATE)
    return bool(error.fatal()) or error.code() in codes


def raised(error: Any, what: str) -> OpsBrainError:
    """Return a KafkaError as ours: Retryable where the same may work later or with a new client, else SourceError."""
    text = f"kafka: {what}: {error.str()}"
    return Retryable(text, RETRY_S) if passes(error) or begins_anew(error) else SourceError(text)

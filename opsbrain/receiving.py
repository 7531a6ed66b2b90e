"""`opsbrain receive` as a whole: the receivers of `opsbrain up`, over Kafka instead of the journal and the pipeline."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Final

from engine.errors import ConfigError
from engine.runners.kafka.watch import BROKER, Watch
from engine.runners.meters import Meters
from ingest.registry import FORMATS
from opsbrain.doors import Served, build_doors
from opsbrain.health import health_routes, what_is_awaited
from opsbrain.http_guard import access_of
from opsbrain.kafka_config import kafka_config
from opsbrain.kafka_keep import DELIVERY_S, KafkaKeep
from opsbrain.metrics import Exposition
from opsbrain.pull import pullers_of
from opsbrain.settings import Settings
from opsbrain.sources_api import sources_routes
from opsbrain.tally import RECEIVE, Tally

WAIT_S: Final = 0.5


class Receiving(Served):
    """Everything of one `opsbrain receive`. Use as a context manager.

    It keeps no state of its own, but for what pulls remember in `store.folder`: switch a pull on in one process only.
    """

    def __init__(self, settings: Settings) -> None:
        """Listen; raise ConfigError or SourceError, one line each, when that cannot be."""
        access = access_of(settings.http, settings.receivers, console=False)
        kafka = kafka_config(settings, needs_telemetry=True)
        with ExitStack() as opened:
            keep = opened.enter_context(KafkaKeep(kafka, topics_of(settings), settings.http.max_body_mb << 20))
            self._pulls = pullers_of(settings, keep, settings.store.folder)
            self._tally = tally = Tally()
            self._watch = Watch(kafka, meters := Meters())
            meters.reading(RECEIVE, tally.component)
            meters.wait(BROKER, f"waiting for the broker at {kafka.bootstrap}")
            others = [
                *health_routes(lambda: (), lambda: what_is_awaited(meters)),
                Exposition(meters).route(),
                *sources_routes(lambda: (), tally),
            ]
            formats = list(FORMATS)
            self._servers, self.app = build_doors(
                settings, access, keep, formats, others, tally, opened, grace_s=DELIVERY_S + 1
            )
            self._open = opened.pop_all()

    def run(self, stopped: threading.Event) -> None:
        """Serve, and pull what settings name, until `stopped`; then answer what is under way."""
        self._servers.start()
        self._watch.start(stopped)
        for one in self._pulls:
            one.start()
        try:
            while not stopped.wait(WAIT_S):
                self._servers.check()
                self._tally.say()
                for one in self._pulls:
                    one.check()
        finally:
            for one in self._pulls:
                one.stop()
            self._servers.stop()


def topics_of(settings: Settings) -> dict[str, str]:
    """Return the topic of each format; raise ConfigError where it is not clear which of several."""
    known: dict[str, list[str]] = {}
    for one in settings.kafka.telemetry:
        known.setdefault(one.format, []).append(one.topic)
    named = settings.receivers.topics
    for format, topic in named.items():
        if topic not in known.get(format, ()):
            raise ConfigError(f"receivers.topics.{format}: kafka.telemetry lists no topic {topic} of this format")
    for format, topics in known.items():
        if len(set(topics)) > 1 and format not in named:
            raise ConfigError(
                f"kafka.telemetry: {' and '.join(topics)} have format {format}; say which one receivers fill by "
                f"receivers.topics.{format}"
            )
    return {format: topics[0] for format, topics in known.items()} | dict(named)

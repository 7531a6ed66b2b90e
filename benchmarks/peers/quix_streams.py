"""Quix Streams: a streaming dataframe over the topic. State is a dictionary: the messages have no keys, as the adapter
sends them, so its own state store would need a second topic; this favours it."""

# mypy: ignore-errors
# Runs in an environment of its own (requirements.txt), where nothing of ours is installed.

import os

from job import Series, parsed
from meter import Meter
from quixstreams import Application

BOOTSTRAP, TOPIC, METER = Meter.from_arguments()
SERIES: dict[str, Series] = {}


def step(body):
    """Return what the window crossed that this message closed."""
    METER.add()
    if not body:
        return []
    name, (at_s, value) = parsed(body)
    series = SERIES.get(name)
    if series is None:
        series = SERIES[name] = Series()
    crossed = series.take(at_s, value)
    return [] if crossed is None else [(name, *crossed)]


def emit(_):
    """Count what comes out."""
    METER.emitted += 1


app = Application(
    broker_address=BOOTSTRAP, consumer_group=f"quix-{os.getpid()}", auto_offset_reset="earliest", loglevel="WARNING"
)
frame = app.dataframe(app.topic(TOPIC, value_deserializer="bytes"))
frame = frame.apply(step, expand=True)
frame.update(emit)
app.run()

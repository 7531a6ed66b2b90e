"""Faust: an agent that takes one message at a time, as its documentation begins. State is a dictionary, not a table
with a changelog; this favours it."""

# mypy: ignore-errors
# Runs in an environment of its own (requirements.txt), where nothing of ours is installed.

import os
import sys
import tempfile

from job import Series, parsed
from meter import Meter

BOOTSTRAP, TOPIC, METER = Meter.from_arguments()

import faust  # noqa: E402 - it reads the command line where it is imported by its own program

app = faust.App(
    f"faust-peer-{os.getpid()}",
    broker=f"kafka://{BOOTSTRAP}",
    value_serializer="raw",
    web_enabled=False,
    datadir=tempfile.mkdtemp(),
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
)
topic = app.topic(TOPIC, value_type=bytes, value_serializer="raw")
SERIES: dict[str, Series] = {}


@app.agent(topic)
async def detect(stream):
    """Take one message after the other."""
    async for body in stream:
        METER.add()
        if not body:
            continue
        name, (at_s, value) = parsed(body)
        series = SERIES.get(name)
        if series is None:
            series = SERIES[name] = Series()
        if series.take(at_s, value) is not None:
            METER.emitted += 1


if __name__ == "__main__":
    sys.argv = ["faust", "worker", "-l", "error", "--without-web"]
    app.main()

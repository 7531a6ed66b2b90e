"""Bytewax with river: a dataflow from Kafka, keyed by series, whose state is the open window and river's statistics."""

# mypy: ignore-errors
# Runs in an environment of its own (requirements.txt), where nothing of ours is installed.

from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from job import FADING, FIRST, THRESHOLD, WINDOW_S, parsed
from meter import Meter
from river import stats

BOOTSTRAP, TOPIC, METER = Meter.from_arguments()
BATCH = 5_000


class Windowed:
    """A series' open window, and the mean and variance of its windows."""

    __slots__ = ("count", "mean", "seen", "start", "total", "variance")

    def __init__(self):
        self.start, self.total, self.count, self.seen = 0, 0.0, 0, 0
        self.mean, self.variance = stats.EWMean(fading_factor=FADING), stats.EWVar(fading_factor=FADING)

    def close(self):
        observed, variance = self.total / self.count, self.variance.get()
        z = (observed - self.mean.get()) / variance**0.5 if self.seen >= FIRST and variance > 0 else 0.0
        self.seen += 1
        self.mean.update(observed)
        self.variance.update(observed)
        return [(self.start, observed, z)] if abs(z) > THRESHOLD else []


def step(state, sample):
    """Return the series' state and what the window crossed that this sample closed."""
    state = state or Windowed()
    at_s, value = sample
    start, out = at_s - at_s % WINDOW_S, []
    if start != state.start:
        if state.count:
            out = state.close()
        state.start, state.total, state.count = start, 0.0, 0
    state.total += value
    state.count += 1
    return state, out


def parse_batch(messages):
    """Return (series, sample) of each message; empty ones mark a partition's end."""
    METER.add(len(messages))
    return [parsed(message.value) for message in messages if message.value]


class Emitted(StatelessSinkPartition):
    """Counts what comes out."""

    def write_batch(self, items):
        METER.emitted += len(items)


class Emit(DynamicSink):
    """Builds that."""

    def build(self, step_id, worker_index, worker_count):
        return Emitted()


flow = Dataflow("peer")
messages = op.input("in", flow, KafkaSource([BOOTSTRAP], [TOPIC], tail=True, batch_size=BATCH))
samples = op.flat_map_batch("parse", messages, parse_batch)
crossed = op.stateful_flat_map("window-and-zscore", samples, step)
op.output("out", crossed, Emit())
run_main(flow)

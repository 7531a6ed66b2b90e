"""prometheus-kafka-adapter: one sample a message, as JSON.

    {"timestamp":"1970-01-01T00:00:00Z","value":"9876543210","name":"up","labels":{"__name__":"up","job":"x"}}

The value is text and may be `NaN`, `+Inf` or `-Inf`: all three are rows whose value is NaN (present, without a usable
number), since an infinity in a mean would hide everything beside it. Times have whole seconds.

Some 0.2 µs a sample that is written as the adapter writes it (`adapter_shapes`), 1 µs where it is any other JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from engine.numbered import Rows
from engine.ports import Decoded
from engine.schemas import Kind
from engine.types import Ints
from ingest.adapter_samples import Samples
from ingest.adapter_shapes import Recognised, Shapes
from ingest.identity import Identity
from ingest.metric_labels import MetricLabels
from ingest.numbered_rows import numbered, offsets_of, together, with_offsets
from ingest.scrub import Scrubber
from ingest.series_table import SeriesTable
from ingest.split import Split


class _Known:
    """What is remembered from batch to batch, and what reads what is not recognised."""

    __slots__ = ("reader", "samples", "shapes", "table")

    def __init__(self, identity: Identity, scrubber: Scrubber) -> None:
        self.table = SeriesTable()
        self.shapes = Shapes()
        self.samples = Samples(MetricLabels(identity, scrubber), scrubber, self.table)
        self.reader = Split(self.samples)

    def make_room(self) -> None:
        """Forget everything if it is too much."""
        if self.table.full:
            self.table.clear()
            self.shapes.forget()


@dataclass(frozen=True, slots=True)
class PrometheusAdapter:
    """Decodes samples; label sets are looked at once each.

    The indicator is the metric's name with the labels that say neither whom it is about nor how it was fetched:
    `http_requests_total{code="500",method="GET"}`.
    """

    name: ClassVar[str] = "prometheus-adapter"
    kind: ClassVar[Kind] = "metrics"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _known: _Known = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", _Known(self.identity, self.scrubber))

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a sample, and a dead letter for each message that is none."""
        self._known.make_room()
        found = self._known.shapes.recognised(bodies)
        if len(found.at) == len(bodies):
            return Decoded(self._rows(found, offsets_of(offsets)))
        rest = np.delete(np.arange(len(bodies)), found.at)
        read = self._read(bodies, rest, found, input)
        letters = [replace(one, offset=int(offsets[one.offset])) for one in read.letters]
        rows = together([self._rows(found, found.at), read.batch])
        return Decoded(with_offsets(rows, offsets), letters)

    def _rows(self, found: Recognised, offsets: Ints) -> Rows:
        return numbered(self._known.table.names, found.numbers, offsets, found.ts_ms, found.values)

    def _read(self, bodies: Sequence[bytes], positions: Ints, found: Recognised, input: str) -> Decoded:
        """Return what comes of the messages at these positions, as offsets, and learn what is known of them then."""
        known = self._known
        known.samples.came.clear()
        read = known.reader.decode([bodies[at] for at in positions.tolist()], positions.tolist(), input)
        numbers = np.full(len(bodies), -1)
        came = np.concatenate([at for at, _ in known.samples.came])
        numbers[came] = np.concatenate([series for _, series in known.samples.came])
        numbers[np.bincount(came, minlength=len(bodies)) > 1] = -1  # a message of several records
        numbers[[letter.offset for letter in read.letters]] = -1
        at = found.learnable[:, 0].astype(np.int64)
        known.shapes.learn(bodies, found.learnable, numbers[at])
        return read

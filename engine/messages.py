"""What travels between steps, and the names of the streams it travels on.

A message's key is made of what it is, and the same message always has the same bytes: a repeat overwrites, so
at-least-once delivery is enough for an effect of exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.notice import Notice
from engine.types import Anomaly, DeadLetter, Fit, Fix, Incident, Inputs, Mark

Payload = pl.DataFrame | Mark | Inputs | Fit | Anomaly | Incident | Fix | DeadLetter

FEATURES: Final = "features"
SPANS: Final = "spans"
CHANGES: Final = "changes"
TOPOLOGY: Final = "topology"
ANOMALIES: Final = "anomalies"
CONTEXT: Final = "context"
HISTORY: Final = "history"
FITS: Final = "fits"
INCIDENTS: Final = "incidents"
FIXES: Final = "fixes"
LATE: Final = "late"
DEADLETTERS: Final = "deadletters"

BY_SHARD: Final = frozenset({FEATURES, SPANS, FITS})
"""Streams whose frames have a column `shard`; marks and fits on them go to every partition."""


@dataclass(frozen=True, slots=True)
class Message:
    """One payload on one stream.

    `scope` routes it where the stream is by scope; "" means everybody on the stream gets it (marks, declared inputs,
    fits) or that the frame's own `shard` column routes its rows. `notice` goes with a revision of an incident.
    """

    stream: str
    key: str
    payload: Payload
    scope: str = ""
    notice: Notice | None = None


Messages = Sequence[Message]

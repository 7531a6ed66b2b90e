"""kubernetes-event-exporter: one event a message as JSON, with the labels and owners of what it is about.

It is an event as `ingest.formats.kubernetes_events` reads it; the exporter, too, sends each update of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import msgspec

from engine.ports import Decoded
from engine.schemas import Kind
from ingest.formats.kubernetes_events import Event, event_rows
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber


@dataclass(frozen=True, slots=True)
class KubernetesEventExporter:
    """Decodes what kubernetes-event-exporter sends."""

    name: ClassVar[str] = "kubernetes-event-exporter"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row an event, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        events, at = refused.decoded(_DECODER.decode)
        rows = event_rows(events, at, refused, self.identity, self.scrubber)
        return Decoded(rows, refused.letters())


_DECODER: Final = msgspec.json.Decoder(Event)

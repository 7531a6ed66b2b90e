"""Kubernetes objects: one object as it was at a time, a message each, as JSON.

{"observed_at": RFC 3339, "object": {...}, "deleted": false}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.identity import Identity
from ingest.manifest import canonical
from ingest.refused import Refused
from ingest.repeats import identity_of_columns
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, Stamp, stamps_ms


class _Observed(msgspec.Struct):
    observed_at: Stamp
    object: dict[str, Any]
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class KubernetesObjects:
    """Decodes objects."""

    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    @property
    def name(self) -> str:
        """Return the format's name."""
        return "kubernetes-objects"

    @property
    def kind(self) -> Kind:
        """Return the kind of its rows."""
        return "objects"

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row an object, and a dead letter for each message that holds none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        observed, at = refused.decoded(_DECODER.decode)
        rows = [self._row(one.object) for one in observed]
        columns = ("entity", "api_version", "object_kind", "namespace", "name", "manifest", "uid", "version")
        frame = pl.DataFrame(
            {
                "at": pl.Series(at, dtype=pl.Int64),
                "ts_ms": stamps_ms([one.observed_at for one in observed]),
                "deleted": pl.Series([one.deleted for one in observed], dtype=pl.Boolean),
                **{name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in columns},
            }
        )
        frame = refused.where(frame, pl.col("entity").is_null(), "object has no apiVersion, kind or name")
        frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = frame.with_columns(refused.offsets_of(frame["at"]), told=pl.col("deleted").cast(pl.String))
        frame = frame.with_columns(identity_of_columns(frame, "uid", "version", "told"))
        return Decoded(conform("objects", frame), refused.letters())

    def _row(self, manifest: Mapping[str, Any]) -> dict[str, str]:
        metadata = _object(manifest.get("metadata"))
        api_version, kind = _text(manifest.get("apiVersion")), _text(manifest.get("kind"))
        namespace, name = _text(metadata.get("namespace")), _text(metadata.get("name"))
        if not (api_version and kind and name):
            return {}
        return {
            "entity": self.identity.of_object(manifest),
            "api_version": api_version,
            "object_kind": kind,
            "namespace": namespace,
            "name": name,
            "uid": _text(metadata.get("uid")),
            "version": _text(metadata.get("resourceVersion")),
            "manifest": canonical(dict(manifest), self.scrubber.counts),
        }


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_DECODER: Final = msgspec.json.Decoder(_Observed)

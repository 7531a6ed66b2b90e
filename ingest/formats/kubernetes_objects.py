"""Kubernetes objects: one object as it was at a time, a message each, as JSON, in one of these forms:

    {"observed_at": RFC 3339, "object": {...}, "deleted": false}
    {"type": "ADDED | MODIFIED | DELETED", "object": {...}, "observed_at": RFC 3339}     as a watch tells it
    {"apiVersion": ..., "kind": ..., "metadata": {...}, ...}                             the object itself

Where `observed_at` is missing, the object was as it is when the message came in; where that is not known either, when
somebody last wrote to it (its `managedFields` say so). A bookmark tells of no object and is dropped, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

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
    object: dict[str, Any] | None = None
    observed_at: Stamp = None
    deleted: bool = False
    type: Any = None  # what a watch says; of an object itself it is something else


@dataclass(frozen=True, slots=True)
class KubernetesObjects:
    """Decodes objects."""

    name: ClassVar[str] = "kubernetes-objects"
    kind: ClassVar[Kind] = "objects"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row an object, and a dead letter for each message that holds none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        told, at = refused.decoded(_observed)
        kept = [(one, position) for one, position in zip(told, at, strict=True) if one.type != "BOOKMARK"]
        frame = self._frame([one for one, _ in kept], [position for _, position in kept], received_ms)
        frame = refused.where(frame, pl.col("entity").is_null(), "object has no apiVersion, kind or name")
        frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = frame.with_columns(told=pl.col("deleted").cast(pl.String))
        frame = frame.with_columns(
            refused.offsets_of(frame["at"]), identity_of_columns(frame, "uid", "version", "told")
        )
        dropped = {"bookmark": len(told) - len(kept)} if len(kept) < len(told) else {}
        return Decoded(conform("objects", frame), refused.letters(), dropped)

    def _frame(self, told: Sequence[_Observed], at: Sequence[int], received_ms: Sequence[int]) -> pl.DataFrame:
        rows = [self._row(one.object or {}) for one in told]
        stamps = [
            _seen(one, received_ms[position] if received_ms else 0) for one, position in zip(told, at, strict=True)
        ]
        columns = ("entity", "api_version", "object_kind", "namespace", "name", "manifest", "uid", "version")
        return pl.DataFrame(
            {
                "at": pl.Series(at, dtype=pl.Int64),
                "ts_ms": stamps_ms(stamps),
                "deleted": pl.Series([one.deleted or one.type == "DELETED" for one in told], dtype=pl.Boolean),
                **{name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in columns},
            }
        )

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
            "manifest": canonical(dict(manifest), self.scrubber),
        }


def _observed(body: bytes) -> _Observed:
    one = _DECODER.decode(body)
    return one if one.object is not None else _Observed(_PLAIN.decode(body))


def _seen(one: _Observed, received_ms: int) -> Stamp:
    """Return when the object was as it is."""
    if one.observed_at is not None:
        return one.observed_at
    return received_ms or _written(_object((one.object or {}).get("metadata")))


def _written(metadata: Mapping[str, Any]) -> str | None:
    """Return when somebody last wrote to the object: times of the server, to the second, which sort as text."""
    writes = metadata.get("managedFields")
    writes = writes if isinstance(writes, list) else []
    times = [_text(metadata.get("creationTimestamp")), *(_text(_object(one).get("time")) for one in writes)]
    return max(times) or None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_DECODER: Final = msgspec.json.Decoder(_Observed)
_PLAIN: Final = msgspec.json.Decoder(dict[str, Any])

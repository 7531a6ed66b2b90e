"""Kubernetes manifests in one spelling: what a person or a controller set, sorted, and no secret's value.

Dropped: `managedFields`, `resourceVersion`, the last applied configuration (a copy of the whole, secrets included) and
heartbeats, which all change without anything having changed. Secret values become a hash of 32 bits: enough to see that
one changed, too little to confirm a guess.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from engine.redaction import hashed
from ingest.scrub import Scrubber, asks_for_secret, looks_secret

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_VOLATILE: Final = ("managedFields", "resourceVersion")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

Json = dict[str, Any]


def canonical(manifest: Json, scrubber: Scrubber) -> str:
    """Return the manifest as sorted JSON without volatile fields and secret values; the scrubber counts those."""
    cleaned = {key: value for key, value in manifest.items() if key != "metadata"}
    metadata = manifest.get("metadata")
    if isinstance(metadata, dict):
        cleaned["metadata"] = _metadata(metadata)
    if cleaned.get("kind") == "Secret":
        for part in ("data", "stringData"):
            if isinstance(cleaned.get(part), dict):
                cleaned[part] = {key: _hashed(value, scrubber) for key, value in cleaned[part].items()}
    elif cleaned.get("kind") == "ConfigMap" and isinstance(cleaned.get("data"), dict):
        cleaned["data"] = {key: _setting(key, value, scrubber) for key, value in cleaned["data"].items()}
    return _ENCODER.encode(_clean(cleaned, scrubber)).decode()


def _metadata(metadata: Json) -> Json:
    kept = {key: value for key, value in metadata.items() if key not in _VOLATILE}
    annotations = kept.get("annotations")
    if isinstance(annotations, dict):
        kept["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    return kept


def _clean(value: Any, scrubber: Scrubber) -> Any:
    if isinstance(value, dict):
        return _clean_object(value, scrubber)
    if isinstance(value, list):
        return _clean_list(value, scrubber)
    return scrubber.credentials(value) if isinstance(value, str) else value


def _clean_list(value: list[Any], scrubber: Scrubber) -> list[Any]:
    before = [None, *value]
    return [
        _hashed(one, scrubber) if _is_secret_argument(last, one) else _clean(one, scrubber)
        for last, one in zip(before, value, strict=False)
    ]


def _is_secret_argument(last: Any, one: Any) -> bool:
    if not (isinstance(last, str) and isinstance(one, str) and asks_for_secret(last)):
        return False
    return not one.startswith(("-", "$("))  # the next option, or a reference to a variable


def _clean_object(value: Json, scrubber: Scrubber) -> Json:
    cleaned = {key: _clean(one, scrubber) for key, one in value.items() if key != "lastHeartbeatTime"}
    name, literal = value.get("name"), value.get("value")
    if isinstance(name, str) and isinstance(literal, str) and looks_secret(name):
        cleaned["value"] = _hashed(literal, scrubber)
    return cleaned


def _setting(key: str, value: Any, scrubber: Scrubber) -> Any:
    return _hashed(value, scrubber) if isinstance(value, str) and looks_secret(key) else value


def _hashed(value: Any, scrubber: Scrubber) -> str:
    scrubber.counts["manifest"] += 1
    return hashed(str(value))

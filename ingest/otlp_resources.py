"""Remembers what OTLP resources say of themselves, by their bytes: a sender repeats them with every request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeVar

from ingest.identity import Identity
from ingest.otlp_values import resource_attributes

T = TypeVar("T")

_MAX_CACHED: Final = 10_000  # distinct resources; a few kB each
_MAX_BYTES: Final = 8_192  # of one that is worth remembering


@dataclass(frozen=True, slots=True)
class Resources:
    """Caches the attributes and entities of resources; of one input format with one `Identity`."""

    _attributes: dict[bytes, dict[str, str]] = field(default_factory=dict)
    _entities: dict[bytes, str] = field(default_factory=dict)

    def attributes(self, resource: bytes) -> dict[str, str]:
        """Return a resource's attributes; raise Malformed where it is none."""
        known = self._attributes.get(resource)
        if known is None:
            known = _remember(self._attributes, resource, resource_attributes(resource))
        return known

    def entity(self, resource: bytes, identity: Identity) -> str:
        """Return the entity that a resource names; raise Malformed where it is none."""
        known = self._entities.get(resource)
        if known is None:
            known = _remember(self._entities, resource, identity.of_resource(self.attributes(resource)))
        return known


def _remember(known: dict[bytes, T], resource: bytes, value: T) -> T:
    if len(known) >= _MAX_CACHED:
        known.clear()
    if len(resource) <= _MAX_BYTES:
        known[resource] = value
    return value

"""How far one partition of incidents has been told, by receiver: what a worker commits, so that none depends on it.

A worker that dies takes its outbox with it, so the group's offset stays behind what is still owed: whoever takes the
partition reads it again, and sends it with the same body and key. The offset's metadata says who is owed what, so that
a receiver that is dead for hours does not make the others hear everything again.

The metadata maps receivers to offsets: those owed, and last the one from which on nothing has been told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from opsbrain.notify.delivery import Delivery

_MOST_OFFSETS: Final = 64  # of one receiver; who is owed more hears all since the first again
_MOST_BYTES: Final = 4_000  # a broker takes 4,096 (`offset.metadata.max.bytes`); without it, all hear all again


class Ledger:
    """What of one partition is owed to whom. Offsets are taken in ascending order, once each."""

    def __init__(self, receivers: Sequence[str], start: int, metadata: str | None) -> None:
        """Begin at the offset `start`, with the metadata that the group holds, if any."""
        known = _parsed(metadata)
        latest = max((offsets[-1] for offsets in known.values()), default=start)
        new = [latest]  # a receiver that is new in settings does not hear of what the others have heard
        self._before = {name: known.get(name, new if known else [start]) for name in receivers}
        self._owed: dict[str, dict[str, int]] = {name: {} for name in receivers}
        self.position = start
        self.subjects: set[str] = set()

    def wants(self, receiver: str, offset: int) -> bool:
        """Return whether what lies at `offset` is still to be told to a receiver."""
        *owed, told_up_to = self._before[receiver]
        return offset >= told_up_to or offset in owed

    def took(self, offset: int, deliveries: Iterable[Delivery] = ()) -> None:
        """Note that the message at `offset` has become `deliveries`; a repeat is owed since the first."""
        self.position = offset + 1
        for one in deliveries:
            self.subjects.add(one.subject)
            self._owed[one.notifier].setdefault(one.first_id, offset)

    def settle(self, owed: Collection[tuple[str, str]]) -> None:
        """Keep of what is owed only what is in `owed` (id and receiver); the rest has been told or given up."""
        for name, ids in self._owed.items():
            self._owed[name] = {id: offset for id, offset in ids.items() if (id, name) in owed}

    def place(self) -> tuple[int, str]:
        """Return the offset to commit, and its metadata ("" when everything before the offset has been told to all)."""
        offsets = {name: self._offsets(name) for name in self._owed}
        lowest = min([self.position, *(one[0] for one in offsets.values())])
        if all(one == [lowest] for one in offsets.values()):
            return lowest, ""
        text = msgspec.json.encode(offsets, order="sorted").decode()
        return lowest, text if len(text) <= _MOST_BYTES else ""

    def _offsets(self, name: str) -> list[int]:
        """Return what a receiver is owed, of what was read here and of what was not read again yet."""
        *owed, told_up_to = self._before[name]
        rest = [one for one in owed if one >= self.position]
        found = [*sorted({*self._owed[name].values(), *rest}), max(self.position, told_up_to)]
        return found if len(found) <= _MOST_OFFSETS else found[:1]


def _parsed(metadata: str | None) -> Mapping[str, list[int]]:
    """Return who is owed what; nothing when the text is not ours."""
    try:
        found = msgspec.json.decode(metadata or "{}", type=dict[str, list[int]])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return {}
    return {name: offsets for name, offsets in found.items() if offsets}

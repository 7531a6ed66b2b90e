"""Snapshots of stateful steps in a compacted topic: chunks, then one manifest with their hash.

Partition p of the topic holds the snapshots of every step's partition p. Keys are content-addressed, so that a worker
that lost its partitions and does not know it yet can never overwrite part of its successor's snapshot:

    {step}/{p}/{hash}/000000, 000001, ...    the chunks
    {step}/{p}/{hash}/manifest               JSON: how many chunks, their hash, the input positions they contain

A snapshot counts only whole (hash), and of several whole ones the one that is furthest by position counts, not the one
written last: all of them are true, and the furthest leaves the least to do again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from engine.errors import StateMismatch
from engine.runners.kafka.config import SNAPSHOTS, KafkaConfig
from engine.runners.kafka.fingerprint import REMEDY
from engine.runners.kafka.reader import TopicReader
from engine.runners.kafka.sender import Sender
from engine.state_codec import decode_state, encode_state
from engine.types import State

VERSION: Final = 2
CHUNK_BYTES: Final = 512 * 1024  # fits the 1 MB that brokers allow by default


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A step's state on one partition. `positions` gives, for each stream it reads, the next offset to take.

    `made_with` is what the state depends on (`fingerprint.py`).
    """

    step: str
    partition: int
    positions: Mapping[str, int]
    state: State
    made_with: Mapping[str, str] = field(default_factory=dict)


class _Manifest(msgspec.Struct, frozen=True):
    version: int
    chunks: int
    sha256: str
    positions: dict[str, int]
    made_with: dict[str, str] = {}


class Snapshots:
    """Writes and loads snapshots; remembers which keys are in the topic, to take away what a newer one replaces."""

    def __init__(self, config: KafkaConfig, sender: Sender, reader: TopicReader) -> None:
        self._topic = config.topic(SNAPSHOTS)
        self._sender = sender
        self._reader = reader
        self._keys: dict[tuple[str, int], set[bytes]] = {}

    def load(self, partition: int) -> dict[str, Snapshot]:
        """Return the furthest whole snapshot of each step on `partition`; steps without one are not in it."""
        found: dict[bytes, bytes] = {}
        for message in self._reader.whole([(self._topic, partition)]):
            if message.value() is None:
                found.pop(message.key(), None)
            else:
                found[message.key()] = message.value()
        best: dict[str, Snapshot] = {}
        for key in sorted(found):
            step = key.split(b"/", 1)[0].decode()
            self._keys.setdefault((step, partition), set()).add(key)
            if key.endswith(b"/manifest"):
                snapshot = _whole(step, partition, key.removesuffix(b"manifest"), found)
                if snapshot and (step not in best or _distance(snapshot) > _distance(best[step])):
                    best[step] = snapshot
        return best

    def write(self, snapshots: Sequence[Snapshot]) -> None:
        """Write snapshots; when this returns they are in the broker, whole.

        1. the chunks of all of them, flush
        2. their manifests, flush
        3. tombstones for what they replace (lost in a crash, the leftovers go at the next write after a load)
        """
        manifests: dict[bytes, tuple[int, bytes]] = {}
        kept: dict[tuple[str, int], set[bytes]] = {}
        for one in snapshots:
            body = encode_state({"version": VERSION, "positions": dict(one.positions), "state": one.state})
            digest = hashlib.sha256(body).hexdigest()
            stem = f"{one.step}/{one.partition}/{digest[:16]}/".encode()
            chunks = [body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES)]
            keys = [stem + b"%06d" % number for number in range(len(chunks))]
            for key, chunk in zip(keys, chunks, strict=True):
                self._sender.put(self._topic, one.partition, key, chunk)
            told = _Manifest(VERSION, len(chunks), digest, dict(one.positions), dict(one.made_with))
            manifest = msgspec.json.encode(told)
            manifests[stem + b"manifest"] = one.partition, manifest
            kept[one.step, one.partition] = {*keys, stem + b"manifest"}
        self._sender.flush()
        for key, (partition, manifest) in manifests.items():
            self._sender.put(self._topic, partition, key, manifest)
        self._sender.flush()
        for where, keys_kept in kept.items():
            for key in sorted(self._keys.get(where, set()) - keys_kept):
                self._sender.put(self._topic, where[1], key, None)
            self._keys[where] = keys_kept

    def forget(self) -> None:
        """Forget what is in the topic: the partitions are somebody else's now."""
        self._keys.clear()


def _whole(step: str, partition: int, stem: bytes, found: Mapping[bytes, bytes]) -> Snapshot | None:
    """Return the snapshot under `stem`, or None when part of it is missing (its writer crashed) or being taken away."""
    try:
        manifest = msgspec.json.decode(found[stem + b"manifest"], type=_Manifest)
    except msgspec.MsgspecError as error:
        raise StateMismatch(f"kafka: the manifest {stem.decode()} of a snapshot cannot be read: {error}") from error
    if manifest.version != VERSION:
        raise StateMismatch(
            f"kafka: snapshot {stem.decode()} has version {manifest.version}, this program reads {VERSION}; "
            f"go on with the program that wrote it, or {REMEDY}"
        )
    body = b"".join(found.get(stem + b"%06d" % number, b"") for number in range(manifest.chunks))
    if hashlib.sha256(body).hexdigest() != manifest.sha256:
        return None
    saved = decode_state(body)
    return Snapshot(step, partition, saved["positions"], saved["state"], manifest.made_with)


def _distance(snapshot: Snapshot) -> int:
    return sum(snapshot.positions.values())

"""Messages between steps as Kafka messages: which partition, which key, which bytes.

A frame is one Arrow IPC stream; everything else is JSON, except a fitted model (msgpack, see `engine.state_codec`). The
header `type` says which; the header `notice` is what goes with a revision of an incident. Frames of a stream by shard
are split so that each partition gets its own shards; marks, declared inputs and fits go to every partition (on a stream
by scope, the inputs name the scopes that live there); everything else goes where its scope lives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import msgspec
import polars as pl

from engine.errors import StateMismatch
from engine.messages import BY_SHARD, Message, Payload
from engine.notice import Notice
from engine.state_codec import decode_frame, decode_state, encode_frame, encode_state
from engine.types import DeadLetter, Fit, Fix, Incident, Inputs, Mark
from engine.values import from_json, to_json


@dataclass(frozen=True, slots=True)
class Wire:
    """One Kafka message of ours, without its topic's prefix."""

    stream: str
    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


_NOTICE: Final = "notice"
_PLAIN: Final = msgspec.json.Encoder()  # marks have numbers as keys, in sorted order already


def encode(message: Message, partitions: int) -> list[Wire]:
    """Return `message` as one Kafka message for each partition that it concerns; equal messages give equal bytes."""
    payload = message.payload
    if isinstance(payload, pl.DataFrame) and message.stream in BY_SHARD:
        return _by_shard(message, payload, partitions)
    kind, value = _encode_payload(payload)
    headers: tuple[tuple[str, bytes], ...] = (("type", kind.encode()), ("scope", message.scope.encode()))
    if message.notice is not None:
        headers += ((_NOTICE, to_json(message.notice)),)
    if isinstance(payload, Inputs) and message.stream not in BY_SHARD:
        return [
            Wire(message.stream, p, message.key.encode(), to_json(_living_on(payload, p, partitions)), headers)
            for p in range(partitions)
        ]
    if isinstance(payload, Mark | Inputs | Fit):
        return [Wire(message.stream, p, message.key.encode(), value, headers) for p in range(partitions)]
    return [Wire(message.stream, partition_of(message, partitions), message.key.encode(), value, headers)]


def _by_shard(message: Message, frame: pl.DataFrame, partitions: int) -> list[Wire]:
    """Return a frame's rows by the partitions that their shards live on."""
    headers = (("type", b"frame"), ("scope", message.scope.encode()))
    numbered = frame.with_columns(_partition=pl.col("shard") % partitions)
    by_partition = numbered.partition_by("_partition", as_dict=True, maintain_order=True, include_key=False)
    return [
        Wire(message.stream, int(number), f"{message.key}/{number}".encode(), encode_frame(part), headers)
        for (number,), part in sorted(by_partition.items())
    ]


def partition_of(message: Message, partitions: int) -> int:
    """Return where a message without shards goes: by its scope, or by its input where it has none."""
    return _partition(message.scope or message.key.rpartition("/")[0], partitions)


def _partition(name: str, partitions: int) -> int:
    return crc32(name.encode()) % partitions


def _living_on(inputs: Inputs, partition: int, partitions: int) -> Inputs:
    """Return the declared inputs with the scopes of one partition: a step by scope must not speak for others."""
    scopes = tuple(one for one in inputs.scopes if _partition(one, partitions) == partition)
    return Inputs(inputs.inputs, scopes)


def shards_of(partition: int, partitions: int, shards: int) -> list[int]:
    """Return the logical shards that live on a partition."""
    return list(range(partition, shards, partitions))


def decode(stream: str, key: bytes, value: bytes, headers: dict[str, bytes]) -> Message:
    """Return the message that `encode` wrote; raise StateMismatch when the bytes are not one of ours."""
    kind = headers.get("type", b"").decode()
    read = _DECODERS.get(kind)
    if read is None:
        raise StateMismatch(
            f"a message on {stream} has the unknown type '{kind}': is the topic shared with something else?"
        )
    name = key.decode()
    if kind == "frame" and stream in BY_SHARD:
        name = name.rpartition("/")[0]
    notice = from_json(headers[_NOTICE], Notice) if _NOTICE in headers else None
    return Message(stream, name, read(value), headers.get("scope", b"").decode(), notice)


def _encode_payload(payload: Payload) -> tuple[str, bytes]:
    if isinstance(payload, pl.DataFrame):
        return "frame", encode_frame(payload)
    if isinstance(payload, Fit):
        return "fit", _encode_fit(payload)
    if isinstance(payload, Mark):
        return "mark", _PLAIN.encode(payload)
    return type(payload).__name__.lower(), to_json(payload)


def _encode_fit(fit: Fit) -> bytes:
    parts = [fit.scope, fit.model, fit.until_ms, fit.from_ms, fit.state, fit.sha256, fit.failure]
    return encode_state({"version": 1, "fit": parts})


_DECODERS: Final[dict[str, Callable[[bytes], Payload]]] = {
    "frame": decode_frame,
    "fit": lambda data: Fit(*decode_state(data)["fit"]),
    "mark": lambda data: msgspec.json.decode(data, type=Mark),
    "inputs": lambda data: msgspec.json.decode(data, type=Inputs),
    "incident": lambda data: from_json(data, Incident),
    "fix": lambda data: from_json(data, Fix),
    "deadletter": lambda data: from_json(data, DeadLetter),
}

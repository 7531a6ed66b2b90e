"""State as bytes: msgpack with two extensions, numpy arrays and polars frames. Never a pickled object.

Dictionaries are written with sorted keys and arrays with their type and shape, so equal state has equal bytes.
"""

from __future__ import annotations

import io
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from engine.errors import StateMismatch
from engine.types import State

_ARRAY: Final = 1
_FRAME: Final = 2


def encode_frame(frame: pl.DataFrame) -> bytes:
    """Return a frame as one Arrow IPC stream (a small file takes four times as long); equal frames give equal bytes.

    Text is written as offsets and characters: the views of newer versions tell in which buffers it lay.
    """
    buffer = io.BytesIO()
    frame.rechunk().write_ipc_stream(buffer, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def decode_frame(data: bytes) -> pl.DataFrame:
    """Return the frame written by `encode_frame`."""
    return pl.read_ipc_stream(io.BytesIO(data))


def _enc(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        head = msgspec.msgpack.encode([array.dtype.str, list(array.shape)])
        return msgspec.msgpack.Ext(_ARRAY, len(head).to_bytes(4, "big") + head + array.tobytes())
    if isinstance(value, pl.DataFrame):
        return msgspec.msgpack.Ext(_FRAME, encode_frame(value))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"state may not hold {type(value).__name__}")


def _ext(code: int, data: memoryview) -> Any:
    raw = bytes(data)
    if code == _ARRAY:
        size = int.from_bytes(raw[:4], "big")
        dtype, shape = msgspec.msgpack.decode(raw[4 : 4 + size])
        return np.frombuffer(raw[4 + size :], dtype=np.dtype(dtype)).reshape(shape).copy()
    if code == _FRAME:
        return decode_frame(raw)
    raise StateMismatch(f"unknown extension {code} in saved state")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_enc, order="deterministic")
_DECODER = msgspec.msgpack.Decoder(ext_hook=_ext)


def encode_state(state: State) -> bytes:
    """Return `state` as bytes; raise TypeError for anything that is not plain data."""
    return _ENCODER.encode(state)


def decode_state(data: bytes) -> State:
    """Return the state written by `encode_state`; raise StateMismatch when the bytes are not such."""
    try:
        state = _DECODER.decode(data)
    except (msgspec.DecodeError, ValueError) as error:
        raise StateMismatch(f"saved state cannot be read: {error}") from error
    if not isinstance(state, dict):
        raise StateMismatch("saved state is not a mapping")
    return state

"""Messages that are nearly right: real ones in which something was replaced, taken away or spoiled."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def changed_json(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """Draw a JSON sample in which the value at some path is any JSON, or gone."""
    value = json.loads(draw(st.sampled_from(samples)))
    path = draw(st.sampled_from(list(_paths(value))))
    if not path:
        return json.dumps(draw(ANY_JSON)).encode()
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    if draw(st.booleans()):
        inner[path[-1]] = draw(ANY_JSON)
    else:
        del inner[path[-1]]
    return json.dumps(value).encode()


@st.composite
def spoiled(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """Draw a sample with some bytes changed, cut or doubled, or any bytes."""
    body = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        at, to = sorted(draw(st.tuples(*[st.integers(0, len(body))] * 2)))
        body[at:to] = draw(st.sampled_from((b"", bytes(body[at:to]) * 2, b"\xff", b"<", b'"', b"}", b"\x00")))
    return draw(st.sampled_from((bytes(body), draw(st.binary(max_size=40)))))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from _paths(one, (*path, key))

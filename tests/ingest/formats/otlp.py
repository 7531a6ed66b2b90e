"""OTLP requests for tests: golden ones, drawn ones made of the official objects, and how each is written as JSON."""

import base64
import json
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from engine.ports import Decoded
from ingest.identity import Identity
from ingest.registry import format_of

GOLDEN = Path(__file__).parents[2] / "golden"
DEMO = Identity("demo")
POD = "store-77tk444p6s-2jpfw"
STORE = "demo/service/shop/store"
AT_MS = 1_755_856_800_000
AT_NS = AT_MS * 1_000_000


def samples(name: str) -> list[bytes]:
    return [one.read_bytes() for one in sorted((GOLDEN / name).iterdir()) if one.suffix in (".json", ".bin")]


def decode(name: str, *bodies: bytes, received_ms: tuple[int, ...] = ()) -> Decoded:
    return format_of(name, DEMO).decode(bodies, range(len(bodies)), "in", received_ms)


def rows(name: str, *bodies: bytes) -> list[dict[str, Any]]:
    decoded = decode(name, *bodies)
    assert not decoded.letters, decoded.letters
    return decoded.rows.to_dicts()


def as_json(message: Message) -> bytes:
    """Return a request as OTLP/JSON: protobuf's own mapping, but with ids in hex and enums as numbers."""
    return json.dumps(with_hex_ids(MessageToDict(message, use_integers_for_enums=True))).encode()


def with_hex_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: base64.b64decode(inner).hex().upper()
            if key in ("traceId", "spanId", "parentSpanId")
            else with_hex_ids(inner)
            for key, inner in value.items()
        }
    return [with_hex_ids(one) for one in value] if isinstance(value, list) else value


def key_values(**said: Any) -> list[KeyValue]:
    """Return attributes; two underscores in a name stand for a dot."""
    return [KeyValue(key=key.replace("__", "."), value=any_value(value)) for key, value in said.items()]


def any_value(value: Any) -> AnyValue:
    made = AnyValue()
    if isinstance(value, bool):
        made.bool_value = value
    elif isinstance(value, str):
        made.string_value = value
    elif isinstance(value, int):
        made.int_value = value
    elif isinstance(value, float):
        made.double_value = value
    elif isinstance(value, bytes):
        made.bytes_value = value
    elif isinstance(value, list):
        made.array_value.SetInParent()
        made.array_value.values.extend([any_value(one) for one in value])
    elif isinstance(value, dict):
        made.kvlist_value.SetInParent()
        made.kvlist_value.values.extend([KeyValue(key=key, value=any_value(one)) for key, one in value.items()])
    return made


def store_resource(**more: Any) -> Resource:
    said = {"service__name": "store", "k8s__pod__name": POD, "k8s__namespace__name": "shop", **more}
    return Resource(attributes=key_values(**said))


texts = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | texts | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
names = st.sampled_from(["service.name", "k8s.pod.name", "k8s.namespace.name", "host.name", "pod", "le", "http.route"])
attributes = st.dictionaries(names | texts, values, max_size=4).map(
    lambda said: [KeyValue(key=key, value=any_value(value)) for key, value in said.items()]
)
resources = attributes.map(lambda said: Resource(attributes=said))
nanos = st.just(0) | st.integers(AT_NS, AT_NS + 10**10) | st.integers(0, 2**64 - 1)

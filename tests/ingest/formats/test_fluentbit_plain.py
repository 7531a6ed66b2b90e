"""Log records without the kubernetes filter's metadata: the quick way gives the rows that the thorough one gives."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.formats.fluentbit import Fluentbit
from ingest.identity import Identity

AT_S = 1_755_856_800.5
FILE = "var.log.containers.store-77tk444p6s-2jpfw_shop_c-" + "a" * 64 + ".log"
KEYS = ("@timestamp", "date", "time", "log", "message", "stream", "host", "service", "app", "container_name", "tag")
VALUES = st.sampled_from(
    [None, "", AT_S, "2025-08-22T10:00:00Z", "ERROR x", "n1", {"name": "z"}, 5, FILE, "shop/x", [1]]
)
RECORDS = st.builds(
    lambda usual, odd: json.dumps({**usual, **odd}).encode(),
    st.sampled_from([{"@timestamp": AT_S, "log": "ERROR x"}, {"date": AT_S, "log": "x", "host": "n1"}, {}]),
    st.dictionaries(
        st.sampled_from((*KEYS, "container_id", "ident", "level", "kubernetes", "other")), VALUES, max_size=4
    ),
)


@settings(max_examples=40, deadline=None)
@given(bodies=st.lists(RECORDS, max_size=30))
def test_plain_records_are_read_as_thoroughly_as_others(bodies: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        quick = Fluentbit(Identity("demo")).decode(bodies, range(len(bodies)), "in")
        patch.setattr(Fluentbit, "_plain_sender", lambda *_: None)
        thorough = Fluentbit(Identity("demo")).decode(bodies, range(len(bodies)), "in")
    assert quick.rows.equals(thorough.rows)
    assert list(quick.letters) == list(thorough.letters)


def test_a_plain_record_is_of_its_service_else_of_its_host() -> None:
    said: list[dict[str, Any]] = [{"host": "vm-7", "service": "cart"}, {"host": "vm-7"}]
    bodies = [json.dumps({"@timestamp": AT_S, "log": "x", **one}).encode() for one in said]
    rows = Fluentbit(Identity("demo")).decode(bodies, [0, 1], "in").rows
    assert rows["entity"].to_list() == ["demo/service/default/cart", "demo/node/-/vm-7"]

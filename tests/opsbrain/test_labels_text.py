"""Labels are read as people paste them, and what cannot be is refused in one line."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from opsbrain.labels_text import labels_of

SHOP = {"namespace": "shop", "pod": "x"}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('http_requests_total{namespace="shop",pod="x"}', {"__name__": "http_requests_total"} | SHOP),
        (' job:rate5m {namespace="shop", pod="x",} ', {"__name__": "job:rate5m"} | SHOP),
        ("{namespace='shop',pod=x}", SHOP),
        ("namespace=shop, pod = x", SHOP),
        ('{"namespace": "shop", "pod": "x"}', SHOP),
        ('{"http.requests"="1","k8s.pod.name"="x"}', {"http.requests": "1", "k8s.pod.name": "x"}),
        ('path="/a,b={c}",quoted="a \\"b\\" \\\\"', {"path": "/a,b={c}", "quoted": 'a "b" \\'}),
        ("url=http://x/?a=b,empty=", {"url": "http://x/?a=b", "empty": ""}),
        ('{"shard": 3, "ok": true}', {"shard": "3", "ok": "true"}),
        ("up{}", {"__name__": "up"}),
        ("{}", {}),
        ("", {}),
    ],
)
def test_what_is_pasted_is_understood(text: str, labels: dict[str, str]) -> None:
    assert labels_of(text) == labels


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('up{pod="x"', "the braces do not match"),
        ('pod="x"}', "the braces do not match"),
        ('{{pod="x"}', "the braces do not match"),
        ('{pod="x",pod="y"}', "label 'pod' comes twice"),
        ('up{__name__="down"}', "label '__name__' comes twice"),
        ('{"pod": "x", "pod": "y"}', "label 'pod' comes twice"),
        ('{"pod": {"name": "x"}}', "label 'pod' is not text"),
        ('{"pod": null}', "label 'pod' is not text"),
        ("nonsense", "'nonsense' is not key=value"),
        ("a=b,nonsense", "'nonsense' is not key=value"),
        ('pod="x', "is not key=value"),
        ("=x", "is not key=value"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, why: str) -> None:
    with pytest.raises(DataError) as refused:
        labels_of(text)
    assert why in str(refused.value) and "\n" not in str(refused.value)


@given(st.dictionaries(st.text("abc_", min_size=1), st.text()))
def test_any_value_goes_in_quotes_and_in_json(labels: dict[str, str]) -> None:
    quoted = ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in labels.items())
    assert labels_of(json.dumps(labels)) == labels
    if not any(ord(one) < 32 or ord(one) == 127 for value in labels.values() for one in value):
        assert labels_of(f"up{{{quoted}}}") == {"__name__": "up"} | labels


@given(st.text('ab{}="\\,', max_size=60))
def test_no_text_upsets_it(text: str) -> None:
    with contextlib.suppress(DataError):
        labels_of(text)

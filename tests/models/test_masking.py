from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import masking
from models.masking import mask, mask_series


@pytest.mark.parametrize(
    ("line", "signature"),
    [
        ("took 12ms of 3.5 s", "took <*> of <*> s"),
        ("user 'bob' from 10.0.0.1:80", "user <*> from <*>"),
        ("don't mask the won't", "don't mask the won't"),
        ('{"level": "info", "msg": "hello 3"}', '{"level": "info", "msg": "hello <*>"}'),
        ("GET /api/v1/users/12 HTTP/1.1", "GET <*> HTTP/<*>"),
        ("ts-order-service-7d9f8c6b5-x2x4z ready", "ts-order-service-<*> ready"),
        ("2023-01-29T12:00:00.123Z up", "<*> up"),
        ("id=550e8400-e29b-41d4-a716-446655440000;", "id=<*>;"),
        ("std::vector Foo::bar", "std::vector Foo::bar"),
        ("balance -5 or +5", "balance <*> or <*>"),
        ("see https://x.y/z?a=b now", "see <*> now"),
        ("", ""),
    ],
)
def test_masks_what_varies(line: str, signature: str) -> None:
    assert mask(line) == signature


def test_keeps_nulls_length_and_name() -> None:
    masked = mask_series(pl.Series("body", ["a 1", None]))
    assert masked.to_list() == ["a <*>", None]
    assert masked.name == "body"


@given(st.text(), st.integers(min_value=0, max_value=10**12))
def test_never_fails_and_numbers_never_tell_lines_apart(text: str, number: int) -> None:
    assert mask(f"count is {number} {text}") == mask(f"count is {number + 1} {text}")


PIECES = (
    '"',
    *("<*>", "1", "a", "f", "deadbeef", "::", "fe80", "-", "+", ".", ":", "/", "\\", "C:", "_", "@", "#", ",", "'"),
    *(" ", "\t", "=", "(", "[", "{", "x.com", "http://a", "Jan", "Sun", "Jul 10", "2005", "é", "\n", "~", "$"),
    "abcdabcd-abcd-abcd-abcd-abcdefabcdef",
)


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=16).map("".join), max_size=30))
def test_what_rules_need_changes_no_result(texts: list[str]) -> None:
    lines = pl.Series(texts, dtype=pl.String)
    always = lines
    for rule in masking._RULES:
        always = always.str.replace_all(rule.pattern, rule.replacement)
    assert mask_series(lines).to_list() == always.to_list()

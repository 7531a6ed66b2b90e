"""What is taken out of texts, and what is left alone."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import scrub as module
from ingest.scrub import MARK, scrub, scrub_series

SECRETS = {
    "Authorization: Bearer abc.def-123": "abc.def-123",
    '{"authorization":"Basic dXNlcjpwYXNz"}': "dXNlcjpwYXNz",
    "curl -H 'Authorization: token abcdef'": "abcdef",
    "got Bearer AbCdEf1234567890 back": "AbCdEf1234567890",
    "Cookie: session=s3ss10n; theme=dark": "s3ss10n",
    "password=hunter2": "hunter2",
    "passwd: hunter2, user bob": "hunter2",
    '{"password": "my pass word", "a": 1}': "pass word",
    '{"log":"{\\"db_password\\":\\"hunter2\\"}"}': "hunter2",
    "DB_PASSWORD=hunter2 ./start": "hunter2",
    "mysqldump --password hunter2 shop": "hunter2",
    '["mysqldump", "--password", "hunter2", "shop"]': "hunter2",
    '{"log":"[\\"--db-password\\", \\"hunter2\\"]"}': "hunter2",
    '{"password":"a\\"b secret", "x": 1}': "b secret",
    'password="pa$w0rd" next': "w0rd",
    "open mysql://root:pw@ss@db:3306/shop": "ss@",
    "GET /x?api_key=k-1234&y=2": "k-1234",
    "X-Api-Key: 12345": "12345",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG": "wJalrXUtnFEMI",
    "id AKIAIOSFODNN7EXAMPLE": "AKIAIOSFODNN7EXAMPLE",
    "push with ghp_0123456789abcdefghijABCDEFGHIJ012345": "ghp_0123",
    "key sk-proj-abcdefghijklmnop0123": "abcdefghijklmnop",
    "t eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF_123": "eyJzdWIi",
    "open mysql://root:pw123@db:3306/shop": "pw123",
    "mail to bob.smith+x@mail.example.com failed": "bob.smith",
    "charged 4111111111111111": "4111111111111111",
    "charged 4111-1111-1111-1111 ok": "1111-1111",
    "charged 3782 822463 10005": "822463",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----": "MIIEow",
    "-----BEGIN PRIVATE KEY-----\nMIIEow (cut": "MIIEow",
}
HARMLESS = (
    "basic auth failed",
    "bearer token missing",
    "secret store opened",
    "tokens used 12",
    '{"token_count": 12}',
    "order 4111111111111112",  # no valid check digit
    "trace 1755856800123456789",
    "took 12ms for 5500000000000004x",
    "user@localhost",
    "http://example.com:8080/a@b",
    "2026-11-21T00:47:54.733Z INFO store.main store 3.1.0 starting on node shop-node-2",
)


@pytest.mark.parametrize(("text", "secret"), SECRETS.items())
def test_takes_out(text: str, secret: str) -> None:
    counts: Counter[str] = Counter()
    scrubbed = scrub(text, counts)
    assert secret not in scrubbed
    assert MARK in scrubbed
    assert counts.total() >= 1


@pytest.mark.parametrize("text", HARMLESS)
def test_leaves_alone(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize("text", SECRETS)
def test_scrubbing_twice_changes_nothing(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


def test_a_series_is_scrubbed_as_its_lines_are() -> None:
    lines = [*SECRETS, *HARMLESS, None, ""]
    counts: Counter[str] = Counter()
    scrubbed = scrub_series(pl.Series("body", lines, dtype=pl.String), counts)
    assert scrubbed.name == "body"
    assert scrubbed.to_list() == [None if line is None else scrub(line) for line in lines]
    assert counts["card"] == 3


pieces = st.sampled_from([*SECRETS, *HARMLESS, "a", " ", "=", '"', "{", "\n"]) | st.text(max_size=5)


@given(st.lists(pieces, max_size=4).map("".join))
def test_the_prefilter_passes_over_nothing_that_a_rule_finds(text: str) -> None:
    assert scrub(text) == str(module._apply(pl.Series([text], dtype=pl.String), None)[0])


@given(st.text())
def test_any_text_is_scrubbed_without_complaint(text: str) -> None:
    scrub(text)
    scrub_series(pl.Series([text], dtype=pl.String))


def test_a_card_may_end_a_sentence_but_not_be_part_of_a_number() -> None:
    assert scrub("paid with 4111-1111-1111-1111.") == f"paid with {MARK}."
    assert scrub("took 4111111111111111.5 ns") == "took 4111111111111111.5 ns"

"""What is taken out of texts, and what is left alone."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.redaction import hashed
from ingest.check_digits import valid_card, valid_iban, valid_nhs_number
from ingest.scrub import MARK, Scrubber
from ingest.scrub_rules import KINDS, RULES

scrub = Scrubber().text

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
    '{"log":"--password hunter2 shop"}': "hunter2",
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
    "fetch https://b.s3.amazonaws.com/k?X-Amz-Signature=0fe1dc&X-Amz-Date=2": "0fe1dc",
    "post https://hooks.slack.com/services/T000/B000/XXXX": "B000",
    "DefaultEndpointsProtocol=https;AccountKey=bm90IG9uZQ==;x": "bm90IG9uZQ",
    "to bob@example.com,joe@example.org": "joe",
    "charged 378282246310005,ok": "378282246310005",
    "charged 30569309025904": "30569309025904",
    "charged 3530111333300000": "3530111333300000",
    "pay from GB82 WEST 1234 5698 7654 32 NOW": "1234 5698",
    "pay to DE89370400440532013000.": "0440532013",
    "born with 943 476 5919": "943 476",
    "found 943-476-5919, admitted": "476-5919",
    "NHS number: 9434765919": "9434765919",
    "nhs_no=1234567": "1234567",
    '{"patient_id":"P-1234567"}': "1234567",
    "patient 4721963 admitted": "4721963",
    "MRN: 0012345": "0012345",
    "medical record no 8812345": "8812345",
    "applicant 123-45-6789 approved": "123-45-6789",
    "phone: +1 (415) 555-2671": "555-2671",
    '{"mobile":"07700 900123"}': "900123",
    "msisdn=447700900123": "447700900123",
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
    "id 550e8400-e29b-41d4-a716-446655440000",
    "id 41111111-1111-4111-a111-411111111111",  # a UUID that has a card in it
    "commit 4111111111111111aaaa5500000000000004bbbb",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "from 10.0.0.1:8080 to fe80::1a2b:3c4d",
    "at 1755856800 1755856800123 1755856800123456 1755856800.123456",
    "at 2025-08-22 10:00:00.123456 and 20250822100000",
    "order 100-2000-30000, 12-345-6789, order_id=1234567890",
    "block blk_-4608999687919862906 of 67108864",
    "job_201511101024_0015_m_001425_0",
    "range 900-12-3456, 000-12-3456, 123-00-4567, 123-45-0000, 666-12-3456",  # never issued
    "parts 943 476 5918 and 111 111 1111",  # no NHS number's check digit
    "GB82 WEST 1234 5698 7654 33",  # no valid check digits
    "XX82WEST12345698765432",  # no country
    "DE893704004405320130001",  # too long
    "patient-service 10.0.0.1 took 12345ms",
    "patient 12 of 40",
    "hotel=12345678",
    "tel=10.0.0.15",
    "mobile: 2025-08-22 10:00",
    "phone rang 5551234567",
    "Started user@1000.service and getty@tty1.service",
    "loaded logo@2x.png, lodash@4.17.21.tgz",
    "sha256:4111111111111111411111111111111141111111111111114111111111111111",
    "v4.1111.1111.1111.1111",
    "version 5.5.0-00000000000004",
)


@pytest.mark.parametrize(("text", "secret"), SECRETS.items())
def test_takes_out(text: str, secret: str) -> None:
    scrubber = Scrubber()
    scrubbed = scrubber.text(text)
    assert secret not in scrubbed
    assert MARK in scrubbed
    assert scrubber.counts.total() >= 1
    assert set(scrubber.counts) <= set(KINDS)


@pytest.mark.parametrize("text", HARMLESS)
def test_leaves_alone(text: str) -> None:
    assert scrub(text) is text


@pytest.mark.parametrize("text", SECRETS)
def test_scrubbing_twice_changes_nothing(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


def test_a_series_is_scrubbed_as_its_lines_are() -> None:
    lines = [*SECRETS, *HARMLESS, None, ""]
    scrubber, series = Scrubber(), pl.Series("body", [*SECRETS, *HARMLESS, None, ""], dtype=pl.String)
    scrubbed = scrubber.series(series)
    assert scrubbed.name == "body"
    assert scrubbed.to_list() == [None if line is None else scrub(line) for line in lines]
    assert series.to_list() == lines
    assert scrubber.counts["card"] == 6


def test_every_kind_of_secret_is_among_the_samples() -> None:
    scrubber = Scrubber()
    scrubber.series(pl.Series(list(SECRETS)))
    assert set(scrubber.counts) == set(KINDS)


pieces = st.sampled_from([*SECRETS, *HARMLESS, "a", " ", "=", '"', "{", "\n"]) | st.text(max_size=5)
texts = st.lists(pieces, max_size=4).map("".join)


@given(texts)
def test_the_prefilters_pass_over_nothing_that_a_rule_finds(text: str) -> None:
    every = str(Scrubber()._applied(RULES, pl.Series([text], dtype=pl.String))[0])
    assert scrub(text) == every
    assert Scrubber().series(pl.Series([text], dtype=pl.String)).to_list() == [every]


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, max_size=6))
def test_what_stands_beside_a_text_changes_nothing(lines: list[str]) -> None:
    assert Scrubber().series(pl.Series(lines, dtype=pl.String)).to_list() == [scrub(line) for line in lines]


def test_names_are_counted_once_each() -> None:
    scrubber = Scrubber()
    assert scrubber.names(pl.Series(["to a@example.com", "GET", "to a@example.com"])).to_list()[1:] == [
        "GET",
        f"to {MARK}",
    ]
    assert scrubber.counts == {"email": 1}


def test_a_name_with_a_secret_becomes_a_hash() -> None:
    names = Scrubber().name("password=x"), Scrubber().name("password=y"), Scrubber().name("store")
    assert names == (hashed("password=x"), hashed("password=y"), "store")


def test_manifests_keep_addresses_and_numbers() -> None:
    assert Scrubber().credentials("mail bob@example.com 123-45-6789") == "mail bob@example.com 123-45-6789"
    assert Scrubber().credentials("password=hunter2") == f"password={MARK}"


# --- By settings ---


def test_rules_of_ones_own_are_rules() -> None:
    scrubber = Scrubber(own={"badge": r"\bB-[0-9]{4}\b"})
    assert scrubber.text("badge B-1234 of bob@example.com") == f"badge {MARK} of {MARK}"
    assert scrubber.series(pl.Series(["B-1234", "B-12345", None])).to_list() == [MARK, "B-12345", None]
    assert scrubber.credentials("B-1234") == MARK
    assert scrubber.counts == {"badge": 3, "email": 1}


def test_kinds_can_be_switched_off() -> None:
    scrubber = Scrubber(off=("email", "ssn"))
    assert scrubber.text("bob@example.com 123-45-6789 pwd=x") == f"bob@example.com 123-45-6789 pwd={MARK}"


def test_headers_are_never_kept() -> None:
    text = "Authorization: Bearer abcdef0123 Cookie: a=b\nbob@example.com password=x"
    everything = tuple(kind for kind in KINDS if kind != "header")
    for scrubber in (Scrubber(enabled=False, own={"b": "bob"}), Scrubber(off=everything)):
        assert scrubber.text(text) == f"Authorization: {MARK}\nbob@example.com password=x"
        assert scrubber.text(f"Set-Cookie: {text}") == f"Set-Cookie: {MARK}\nbob@example.com password=x"
        assert scrubber.counts == {"header": 2}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"own": {"x": "("}}, "scrub.rules.x: not in the syntax of Rust's `regex`: unclosed group"),
        ({"own": {"x": "(?<=a)b"}}, "scrub.rules.x: .*look-around"),
        ({"own": {"x": "a{9999}{9999}"}}, "scrub.rules.x: .*size"),
        ({"own": {"x": "a*"}}, "scrub.rules.x: finds the empty text"),
        ({"own": {"email": "a"}}, "scrub.rules.email: is the name of a rule that there is"),
        ({"off": ("header",)}, "scrub.off: authorization and cookie headers are never kept"),
        ({"off": ("e-mail",)}, "scrub.off: 'e-mail' is no kind of secret; known are private key, jwt, "),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        Scrubber(**given)
    assert "\n" not in str(refused.value)


# --- Check digits ---


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (valid_card, "4111111111111111"),
        (valid_card, "378282246310005"),
        (valid_nhs_number, "9434765919"),
        (valid_nhs_number, "4010232137"),
        (valid_iban, "GB82WEST12345698765432"),
        (valid_iban, "NO9386011117947"),
        (valid_iban, "MT84MALT011000012345MTLCAST001S"),
    ],
)
def test_one_wrong_digit_is_seen(check: object, good: str) -> None:
    assert check(good)
    places = [at for at, digit in enumerate(good) if digit.isdigit()]
    wrong = [good[:at] + str((int(good[at]) + 1) % 10) + good[at + 1 :] for at in places]
    assert not any(check(one) for one in wrong)


@given(st.text())
def test_any_text_is_scrubbed_without_complaint(text: str) -> None:
    assert Scrubber().series(pl.Series([text], dtype=pl.String)).to_list() == [scrub(text)]


def test_a_card_may_end_a_sentence_but_not_be_part_of_a_number() -> None:
    assert scrub("paid with 4111-1111-1111-1111.") == f"paid with {MARK}."
    assert scrub("took 4111111111111111.5 ns") == "took 4111111111111111.5 ns"


@pytest.mark.parametrize(
    "text", ["a" * 20_000, "@" * 20_000, "a@" * 10_000, "1-" * 10_000, "nhs " * 5_000, "GB82" * 5_000]
)
def test_long_texts_take_no_longer_for_their_length(text: str) -> None:
    scrub(text)  # a pattern that goes back and forth would take minutes

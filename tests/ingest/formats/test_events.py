"""Formats of events: what all of them must hold, on real messages and on such as nearly are."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks import FORMAT_CHECKS
from ingest.registry import format_of
from tests.ingest.event_formats import DEMO, decode, holds, tells_no_secret
from tests.ingest.golden import golden
from tests.ingest.mutations import changed_json, spoiled

NAMES = ("cloudtrail", "alertmanager", "argocd", "gitlab", "github", "terraform", "junit")
JSON = tuple(name for name in NAMES if name != "junit")


def whole_json(name: str) -> list[bytes]:
    return [line for body in golden(name) for line in ([body] if b"\n{" not in body else body.splitlines())]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_conforms(name: str, check: Callable[..., None]) -> None:
    check(lambda: format_of(name, DEMO), golden(name))


@pytest.mark.parametrize("name", NAMES)
def test_real_messages_are_read_whole_and_tell_no_secret(name: str) -> None:
    messages = golden(name)
    decoded = decode(name, *messages)
    holds(decoded, messages)
    assert not decoded.letters
    tells_no_secret(decoded)


@pytest.mark.parametrize("name", NAMES)
def test_a_message_that_comes_again_is_the_same_rows(name: str) -> None:
    for message in golden(name):
        first = decode(name, message, received_ms=[1_787_392_800_000]).rows
        again = decode(name, message, received_ms=[1_787_392_900_000]).rows
        assert (first["identity"] != 0).all()
        assert first.select("identity", "ts_ms").is_unique().all(), message
        assert first.equals(again)


@pytest.mark.parametrize("name", NAMES)
def test_dead_letters_of_cut_messages_tell_no_secret(name: str) -> None:
    for message in golden(name):
        cut = [message[:-3], message[: len(message) // 2]]
        tells_no_secret(decode(name, *cut))


@pytest.mark.parametrize("name", JSON)
@settings(max_examples=60)
@given(data=st.data())
def test_any_value_anywhere_is_rows_or_a_reason(name: str, data: st.DataObject) -> None:
    messages = [data.draw(changed_json(whole_json(name))) for _ in range(2)]
    decoded = decode(name, *messages, received_ms=[0, 1_787_392_800_000])
    holds(decoded, messages)
    tells_no_secret(decoded)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(data=st.data())
def test_any_bytes_are_rows_or_a_reason(name: str, data: st.DataObject) -> None:
    messages = [data.draw(spoiled(golden(name))) for _ in range(2)]
    holds(decode(name, *messages), messages)

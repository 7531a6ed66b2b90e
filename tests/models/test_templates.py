from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError, StateMismatch
from engine.state_codec import decode_state, encode_state
from models.templates import OTHER, TemplatesConfig, mine

WORDS = st.sampled_from(["open", "close", "user", "bob", "eve", "<*>", "k=<*>", "k=v", "a.b.c", "x/y", "failed"])
LINES = st.lists(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), max_size=40)


def ids_and_texts(signatures: list[str], **options: int) -> tuple[list[str], list[str]]:
    miner = TemplatesConfig(**options).build()
    ids = [miner.final("s", one) for one in miner.assign("s", signatures, [1] * len(signatures))]
    return ids, [miner.text(one) for one in ids]


def test_names_become_variables_and_verbs_do_not() -> None:
    lines = [f"session {verb} for user {user}" for verb in ("opened", "closed") for user in ("bob", "eve", "root")]
    _, texts = ids_and_texts(lines)
    assert sorted(set(texts)) == ["session closed for user <*>", "session opened for user <*>"]


def test_a_plain_word_becomes_a_variable_once_it_took_many_values() -> None:
    words = ["red", "green", "blue", "pink", "black", "white", "grey", "brown"]
    ids, texts = ids_and_texts([f"painted the {word} wall" for word in words])
    assert len(set(ids)) == 1
    assert texts[0] == "painted the <*> wall"
    assert len(set(ids_and_texts([f"painted the {word} wall" for word in words[:7]])[0])) == 7


def test_an_id_stays_when_its_template_becomes_more_general() -> None:
    miner = TemplatesConfig().build()
    [first] = miner.assign("s", ["user bob in"], [1])
    [second] = miner.assign("s", ["user eve in"], [1])
    assert first == second
    assert miner.text(first) == "user <*> in"
    assert miner.text("tpl-unknown") == ""


def test_services_learn_apart() -> None:
    miner = TemplatesConfig().build()
    miner.assign("a", ["user bob in"], [1])
    [other] = miner.assign("b", ["user eve in"], [1])
    assert miner.text(other) == "user eve in"


def test_prose_is_bounded_and_what_does_not_fit_is_other() -> None:
    lines = [f"{chr(97 + i % 26)}{chr(97 + i // 26)} " * (1 + i % 7) for i in range(300)]
    miner = TemplatesConfig(max_templates=20).build()
    ids = miner.assign("s", lines, [1] * len(lines))
    assert len(miner.snapshot()["services"]["s"]["templates"]) <= 21
    assert OTHER in {miner.text(one) for one in ids}


@given(LINES, st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_resuming_changes_nothing(lines: list[str], cut: int) -> None:
    whole = TemplatesConfig(min_values=3, max_templates=8).build()
    expected = whole.assign("s", lines, [1] * len(lines))
    first = TemplatesConfig(min_values=3, max_templates=8).build()
    ids = first.assign("s", lines[:cut], [1] * len(lines[:cut]))
    saved = encode_state(first.snapshot())
    second = TemplatesConfig(min_values=3, max_templates=8).build(decode_state(saved))
    assert ids + second.assign("s", lines[cut:], [1] * len(lines[cut:])) == expected
    assert encode_state(first.snapshot()) == saved
    assert encode_state(second.snapshot()) == encode_state(whole.snapshot())


@given(LINES)
@settings(max_examples=60, deadline=None)
def test_a_line_seen_again_keeps_its_template_when_nothing_new_was_learned(lines: list[str]) -> None:
    miner = TemplatesConfig(min_values=3).build()
    miner.assign("s", lines, [1] * len(lines))
    once = miner.assign("s", lines, [1] * len(lines))
    assert once == miner.assign("s", lines, [1] * len(lines))
    assert all(miner.text(one) for one in once)


def test_mine_counts_every_line() -> None:
    mined = mine(["user bob took 3 ms", "started", "user eve took 15 ms", ""])
    assert mined.templates["template"].to_list() == ["user <*> took <*> ms", "started", ""]
    assert mined.templates["count"].to_list() == [2, 1, 1]
    assert mined.templates["first_line"].to_list() == [0, 1, 3]
    assert len(mined.on_arrival) == len(mined.final) == 4


def test_refuses_bad_settings_and_foreign_state() -> None:
    with pytest.raises(ConfigError, match="max_templates"):
        TemplatesConfig(max_templates=0)
    with pytest.raises(StateMismatch):
        TemplatesConfig().build({"version": 99})

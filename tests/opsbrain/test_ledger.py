"""What is owed of a partition: nothing that is owed is ever behind the committed offset, whoever crashes when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opsbrain.notify.delivery import Delivery
from opsbrain.notify.ledger import Ledger

RECEIVERS = ("a", "b")


def delivery(offset: int, receiver: str) -> Delivery:
    return Delivery(f"inc-{offset}.1", receiver, f"inc-{offset}", "opened", b"", 0)


@given(st.lists(st.tuples(st.integers(0, 12), st.sets(st.tuples(st.integers(0, 40), st.sampled_from(RECEIVERS))))))
def test_any_worker_dies_at_any_time_and_everybody_hears_everything(lives: list[tuple[int, set[tuple[int, str]]]]):
    place, heard = (0, ""), set[tuple[int, str]]()
    for reads, answers in [*lives, (200, {(n, name) for n in range(200) for name in RECEIVERS})]:
        ledger = Ledger(RECEIVERS, *place)
        owed = set[tuple[str, str]]()
        for offset in range(place[0], place[0] + reads):
            new = [delivery(offset, name) for name in RECEIVERS if ledger.wants(name, offset)]
            ledger.took(offset, new)
            owed |= {(one.id, one.notifier) for one in new}
        for offset, name in answers:
            if (f"inc-{offset}.1", name) in owed:
                owed.discard((f"inc-{offset}.1", name))
                assert (offset, name) not in heard, "told again though it was committed"
                heard.add((offset, name))
        ledger.settle(owed)
        place = ledger.place()
        assert all((n, name) in heard for n in range(place[0]) for name in RECEIVERS), "owed and behind the offset"
    assert {(n, name) for n in range(200) for name in RECEIVERS} - heard == set()


def test_one_that_is_owed_too_much_hears_all_since_the_first_again_and_the_others_nothing() -> None:
    ledger = Ledger(RECEIVERS, 0, None)
    for offset in range(1_000):
        ledger.took(offset, [delivery(offset, "a")])
    offset, text = ledger.place()
    assert (offset, text) == (0, '{"a":[0],"b":[1000]}')
    after = Ledger(RECEIVERS, offset, text)
    assert all(after.wants("a", n) and not after.wants("b", n) for n in range(1_000)) and after.wants("b", 1_000)


def test_metadata_that_a_broker_would_not_take_is_left_out() -> None:
    names = [f"receiver-{n:04d}" for n in range(500)]
    ledger = Ledger(names, 0, None)
    ledger.took(0, [delivery(0, names[0])])
    assert ledger.place() == (0, "")


def test_what_is_not_ours_is_ignored_and_a_new_receiver_starts_where_the_others_are() -> None:
    for text in ("{", "[]", '{"a":"b"}', '{"a":[]}', "\ud800", ""):
        assert Ledger(["a"], 5, text).wants("a", 5)
    ledger = Ledger(["a", "new"], 5, '{"a":[5,9],"gone":[7]}')
    assert [n for n in range(5, 11) if ledger.wants("new", n)] == [9, 10]
    assert [n for n in range(5, 11) if ledger.wants("a", n)] == [5, 9, 10]


def test_a_repeat_in_the_topic_is_owed_since_the_first() -> None:
    ledger = Ledger(["a"], 0, None)
    for offset in (0, 1):
        ledger.took(offset, [delivery(7, "a")])
    assert ledger.place() == (0, '{"a":[0,2]}')
    ledger.settle(set())
    assert ledger.place() == (2, "")

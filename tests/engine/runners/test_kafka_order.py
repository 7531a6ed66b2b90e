"""Every message of a partition is taken once and in order, whatever the client hands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.runners.kafka.order import Order

KEY = ("logs", 0)


@dataclass
class Told:
    """A message as the client hands it out; `wrong` is one that says that something is wrong, or at its end."""

    at: int
    wrong: str | None = None

    def offset(self) -> int:
        return self.at

    def error(self) -> str | None:
        return self.wrong


def messages(*offsets: int) -> list[Told]:
    return [Told(at) for at in offsets]


def order(begin: int | None = 5) -> tuple[Order, list[int]]:
    asked: list[int] = []
    made = Order(lambda key, offset: asked.append(offset))
    made.begin(KEY, begin)
    return made, asked


def offsets(taken: Any) -> list[int]:
    return [one.at for one in taken]


def test_what_is_in_order_is_taken_as_it_is() -> None:
    one, asked = order()
    assert offsets(one.taken(KEY, messages(5, 6, 7))) == [5, 6, 7]
    assert offsets(one.taken(KEY, messages(8))) == [8]
    assert asked == []


def test_what_was_fetched_before_the_partition_came_back_is_read_again_in_its_order() -> None:
    one, asked = order()
    assert offsets(one.taken(KEY, messages(9, 10, 11, 5, 6))) == []
    assert asked == [5]
    assert offsets(one.taken(KEY, messages(5, 6, 7, 8, 9))) == [5, 6, 7, 8, 9]


def test_what_was_taken_already_is_passed_over() -> None:
    one, asked = order()
    one.taken(KEY, messages(5, 6, 7))
    assert offsets(one.taken(KEY, messages(6, 7, 8))) == [8]
    assert asked == []


def test_a_gap_that_stays_is_one_of_the_topic() -> None:
    one, asked = order()
    assert offsets(one.taken(KEY, messages(5, 8, 9))) == [5]
    assert offsets(one.taken(KEY, messages(8, 9))) == [8, 9]
    assert asked == [6]


def test_a_topic_with_many_gaps_is_not_asked_about_each() -> None:
    one, asked = order()
    at = 5
    for _ in range(10):
        if not one.taken(KEY, messages(at + 1)):
            assert offsets(one.taken(KEY, messages(at + 1))) == [at + 1]
        at += 2
    assert len(asked) == 3


def test_its_end_is_told_and_counts_as_nothing() -> None:
    one, asked = order()
    assert offsets(one.taken(KEY, [*messages(5, 6), Told(7, "end")])) == [5, 6, 7]
    assert offsets(one.taken(KEY, [Told(7, "end")])) == [7]
    assert offsets(one.taken(KEY, messages(7))) == [7]
    assert asked == []


def test_without_a_committed_offset_it_begins_where_it_begins() -> None:
    one, asked = order(None)
    assert offsets(one.taken(KEY, messages(41, 42))) == [41, 42]
    assert asked == []


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=20))
def test_however_it_jumps_nothing_is_lost_repeated_or_out_of_order(jumps: list[tuple[int, int]]) -> None:
    place = [0]
    one = Order(lambda key, offset: place.__setitem__(0, offset))
    one.begin(KEY, 0)
    got: list[int] = []
    for to, many in jumps:
        got += offsets(one.taken(KEY, messages(*range(to, to + many))))
        if place[0] < len(got):
            place[0] = len(got)
        got += offsets(one.taken(KEY, messages(*range(place[0], place[0] + 3))))
    assert got == list(range(len(got)))

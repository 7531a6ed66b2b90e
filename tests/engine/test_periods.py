"""Periods of cost: each scored once, in order, when it has settled; what is told of it later corrects history."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.periods import DAY_MS, TOLD, Closed, Periods, PeriodsConfig
from engine.state_codec import decode_state, encode_state

Word = tuple[str, int, float, bool]
"""Entity, day, amount, estimated."""


def told(words: Sequence[Word]) -> pl.DataFrame:
    rows = [(0, entity, (day + 1) * DAY_MS, amount, estimated) for entity, day, amount, estimated in words]
    return pl.DataFrame(rows, schema=TOLD, orient="row")


def close(periods: Periods, window: int, *words: Word) -> tuple[list[tuple[str, int, float]], list[tuple]]:
    """Close the window of a day; return (entity, day, amount) of what is scored and of what is revised."""
    closed = periods.close(told(words), window * DAY_MS, (window + 1) * DAY_MS)
    return ([], []) if closed is None else (days_of(closed.fresh), days_of(closed.revised))


def days_of(rows: pl.DataFrame) -> list[tuple[str, int, float]]:
    return [
        (entity, end // DAY_MS - 1, amount)
        for entity, end, amount in rows.select("entity", "end_ms", "amount").iter_rows()
    ]


def test_a_first_bill_is_learned_in_order_and_only_its_last_days_are_news() -> None:
    periods = Periods(PeriodsConfig())
    words = [("a", day, float(day), False) for day in reversed(range(31))]
    closed = periods.close(told(words), 31 * DAY_MS, 32 * DAY_MS)
    assert closed is not None
    assert days_of(closed.fresh) == [("a", day, float(day)) for day in range(31)]
    assert days_of(closed.fresh.filter("news")) == [("a", day, float(day)) for day in (27, 28, 29, 30)]
    assert close(periods, 32, *words, ("a", 31, 31.0, False)) == ([("a", 31, 31.0)], [])


def test_an_estimate_waits_until_it_has_settled_and_the_last_word_counts() -> None:
    periods = Periods(PeriodsConfig(settle_days=2))
    assert close(periods, 10, ("a", 9, 1.0, True)) == ([], [])
    assert close(periods, 11, ("a", 9, 5.0, True), ("a", 10, 2.0, True)) == ([("a", 9, 5.0)], [])
    assert close(periods, 12) == ([("a", 10, 2.0)], [])  # told once, settled a day later


def test_a_final_amount_does_not_wait_but_for_older_ones() -> None:
    periods = Periods(PeriodsConfig(settle_days=2))
    assert close(periods, 10, ("b", 9, 1.0, False)) == ([("b", 9, 1.0)], [])
    assert close(periods, 20, ("a", 19, 1.0, True), ("a", 20, 2.0, False)) == ([], [])
    assert close(periods, 21) == ([("a", 19, 1.0), ("a", 20, 2.0)], [])


def test_another_amount_of_what_was_scored_corrects_history_and_the_same_one_nothing() -> None:
    periods = Periods(PeriodsConfig())
    close(periods, 10, ("a", 9, 1.0, False))
    assert close(periods, 11, ("a", 9, 1.0, False)) == ([], [])
    assert close(periods, 12, ("a", 9, 3.0, False)) == ([], [("a", 9, 3.0)])
    assert close(periods, 13, ("a", 9, 3.0, False)) == ([], [])


def test_a_period_that_came_after_later_ones_is_history() -> None:
    periods = Periods(PeriodsConfig())
    close(periods, 10, ("a", 9, 1.0, False))
    assert close(periods, 11, ("a", 5, 4.0, False), ("b", 5, 4.0, False)) == ([("b", 5, 4.0)], [("a", 5, 4.0)])
    assert close(periods, 12, ("a", 5, 4.0, False)) == ([], [])


def test_what_waited_while_its_source_was_silent_is_still_news() -> None:
    periods = Periods(PeriodsConfig(news_days=3))
    close(periods, 10, ("a", 9, 1.0, True))
    closed = periods.close(told([]), 20 * DAY_MS, 21 * DAY_MS)
    assert closed is not None and closed.fresh["news"].to_list() == [True]


def test_state_is_bounded() -> None:
    periods = Periods(PeriodsConfig(remember_days=5))
    for window in range(1, 60):
        close(periods, window, ("a", window - 1, 1.0, False), ("a", window + 1000, 1.0, False), ("b", 0, 1.0, False))
        assert periods.snapshot()["rows"].height <= 8


WORDS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 6), st.sampled_from([1.0, 2.0]), st.booleans()),
    max_size=6,
    unique_by=lambda word: word[:2],
)


def heard(days: Sequence[Sequence[Word]]) -> list[list[Word]]:
    """Return each day's words as partials have them: what is told of a day that has not ended is an estimate."""
    return [[(*word[:3], word[3] or word[1] >= window) for word in words] for window, words in enumerate(days)]


def closed_days(days: Sequence[Sequence[Word]], resumed: bool) -> list[Closed | None]:
    """Close a window for each day's words; `resumed` crashes after each."""
    periods = Periods(PeriodsConfig())
    out = []
    for window, words in enumerate(days):
        out.append(periods.close(told(words), window * DAY_MS, (window + 1) * DAY_MS))
        if resumed:
            periods = Periods(PeriodsConfig(), decode_state(encode_state(periods.snapshot())))
    return out


@settings(max_examples=40)
@given(st.lists(WORDS, max_size=8).map(heard), st.randoms(use_true_random=False))
def test_any_order_of_periods_over_days(days, random) -> None:
    closed = closed_days(days, resumed=False)
    shuffled = [random.sample(words, len(words)) for words in days]
    for one, other in zip(closed, closed_days(shuffled, resumed=True), strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or (one.fresh.equals(other.fresh) and one.revised.equals(other.revised))
    latest: dict[str, int] = {}
    for window, one in enumerate(closed):
        for entity, day, amount in days_of(one.fresh) if one else []:
            assert day > latest.get(entity, -1), "each once, in their order"
            words = [word for words in days[: window + 1] for word in words if word[:2] == (entity, day)]
            assert words[-1][2] == amount
            assert not words[-1][3] or day + 1 + 2 <= window + 1, "an estimate that has not settled"
            latest[entity] = day

"""Numbers by hashes are those of a dictionary, however hashes fall on each other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.hash_numbers import UNKNOWN, HashNumbers

HASHES = st.integers(0, 2**64 - 1) | st.integers(0, 5) | st.integers(0, 60).map(lambda times: 1 + times * 1_024)


def array(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


@given(st.lists(st.dictionaries(HASHES, st.integers(0, 2**31 - 1), max_size=200), max_size=6), st.lists(HASHES))
def test_it_finds_what_a_dictionary_finds(batches: list[dict[int, int]], others: list[int]) -> None:
    known, wanted = HashNumbers(), {}
    for batch in batches:
        batch = {hash or 1: number for hash, number in batch.items()}  # 0 is taken for 1
        if len(batch) % 2:
            known.add(array(list(batch)), np.array(list(batch.values()), np.int64))
        else:
            for hash, number in batch.items():
                known.put(hash, number)
        wanted |= batch
        assert len(known) == len(wanted)
    asked = [*wanted, *others]
    expected = [wanted.get(hash or 1, UNKNOWN) for hash in asked]
    assert known.find(array(asked)).tolist() == expected
    assert [known.get(hash) for hash in asked] == expected


def test_it_grows_and_forgets() -> None:
    hashes = np.arange(1, 100_001, dtype=np.uint64) * np.uint64(1_024)  # all want the same slots at first
    known = HashNumbers()
    for start in range(0, len(hashes), 5_000):
        known.add(hashes[start : start + 5_000], np.arange(start, start + 5_000))
    assert known.find(hashes).tolist() == list(range(100_000))
    assert known.size_bytes < 64 * len(known)
    known.clear()
    assert len(known) == 0 and (known.find(hashes) == UNKNOWN).all()


def test_equal_hashes_in_one_batch_are_one() -> None:
    known = HashNumbers()
    known.add(array([7, 9, 7, 7]), np.array([1, 2, 1, 1]))
    assert len(known) == 2 and known.find(array([7, 9, 8])).tolist() == [1, 2, UNKNOWN]


def test_a_check_tells_apart_what_has_one_hash() -> None:
    known = HashNumbers()
    known.add(array([7, 9]), np.array([1, 2]), array([50, 2**64 - 1]))
    assert known.find(array([7, 7, 9, 9]), array([50, 51, 2**64 - 1, 2**63])).tolist() == [1, UNKNOWN, 2, UNKNOWN]
    assert [known.get(7, 50), known.get(7, 51), known.get(9, 2**63), known.get(9, 2**64 - 1)] == [1, -1, -1, 2]
    known.put(7, 3, 51)
    assert known.find(array([7, 7]), array([50, 51])).tolist() == [UNKNOWN, 3]


def test_nothing_is_found_among_nothing() -> None:
    known = HashNumbers()
    known.add(array([]), np.array([], np.int64))
    assert known.find(array([])).tolist() == [] and known.find(array([0, 1])).tolist() == [UNKNOWN, UNKNOWN]

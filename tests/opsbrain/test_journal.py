"""Nothing that was answered for is lost, whatever the disk and the process do."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Retryable, SourceError, StateMismatch
from opsbrain.journal import Journal
from opsbrain.journal_reader import Damaged, IdleMark, JournalReader, Messages
from opsbrain.segments import HEADER_BYTES, MAGIC


def drained(journal: Journal, offset: int = 0) -> list[object]:
    """Return (offset, body), (offset, "idle", time) and (offset, "damaged", until), in order."""
    reader = JournalReader(journal, offset)
    said: list[object] = []
    while (entry := reader.read(3)) is not None:
        if isinstance(entry, Messages):
            said += zip(entry.offsets, entry.bodies, strict=True)
        elif isinstance(entry, IdleMark):
            said.append((entry.offset, "idle", entry.time_ms))
        else:
            said.append((entry.offset, "damaged", entry.until))
    assert reader.position == journal.next_offset
    reader.close()
    return said


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_what_was_appended_is_read_in_order_and_from_any_offset(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "logs")
    assert journal.append([b"a", b""], 5) == 0
    assert journal.append_idle(1_000, 6, if_next=2)
    assert journal.append([b"c"], 7) == 3
    everything = [(0, b"a"), (1, b""), (2, "idle", 1_000), (3, b"c")]
    assert drained(journal) == everything
    assert drained(journal, 2) == everything[2:]
    assert drained(journal, 4) == []


def test_a_reader_at_the_end_goes_on_when_more_comes(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=60)
    reader = JournalReader(journal, 0)
    for number in range(9):
        assert reader.read() is None
        journal.append([b"%d" % number * 9], number)
        assert reader.read() == Messages(range(number, number + 1), [number], [b"%d" % number * 9])
    assert len(files(tmp_path)) > 3


def test_a_mark_is_declined_when_something_came_in_between(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([b"a"], 0)
    assert not journal.append_idle(9, 0, if_next=0)
    assert drained(journal) == [(0, b"a")]


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Journal(tmp_path / "journal" / "logs").append([b"password=1"], 0)
    finally:
        os.umask(before)
    assert (tmp_path / "journal" / "logs").stat().st_mode & 0o777 == 0o700
    assert [one.stat().st_mode & 0o777 for one in files(tmp_path / "journal" / "logs")] == [0o600]


@given(
    cut=st.integers(0, 200),
    bodies=st.lists(st.binary(max_size=30), min_size=1, max_size=5),
    junk=st.binary(max_size=40),
)
def test_a_torn_end_costs_only_what_was_never_answered(tmp_path_factory, cut, bodies, junk) -> None:
    folder = tmp_path_factory.mktemp("torn")
    journal = Journal(folder)
    for number, body in enumerate(bodies):
        journal.append([body], number)
    journal.close()
    (path,) = files(folder)
    whole = path.read_bytes()
    kept = whole[: max(len(MAGIC) if junk else 0, len(whole) - cut)]  # the magic was synced before anything followed
    path.write_bytes(kept + junk * (cut > 0))
    again = Journal(folder)
    ends = [len(MAGIC) + sum(HEADER_BYTES + len(b) for b in bodies[:n]) for n in range(len(bodies) + 1)]
    sound = max((n for n, end in enumerate(ends) if end <= len(kept)), default=0)
    assert drained(again)[:sound] == list(enumerate(bodies))[:sound]
    assert again.append([b"next"], 9) == again.next_offset - 1
    assert drained(Journal(folder))[-1] == (again.next_offset - 1, b"next")


def test_zeros_after_the_end_are_a_torn_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([b"a"], 0)
    with files(tmp_path)[0].open("ab") as file:
        file.write(bytes(4_096))
    again = Journal(tmp_path)
    assert again.append([b"b"], 0) == 1
    assert drained(again) == [(0, b"a"), (1, b"b")]


def test_a_foreign_file_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / f"{0:020d}.segment").write_bytes(b"something else")
    with pytest.raises(SourceError, match="not a segment of a journal"):
        Journal(tmp_path)


def test_damage_inside_is_told_and_the_next_segment_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=80)
    for number in range(8):
        journal.append([b"%d" % number * 10], 0)
    first, second = files(tmp_path)[:2]
    data = bytearray(first.read_bytes())
    data[len(MAGIC) + HEADER_BYTES + 3] ^= 1
    first.write_bytes(data)
    until = int(second.stem)
    again = Journal(tmp_path, segment_bytes=80)
    assert drained(again) == [(0, "damaged", until)] + [(n, b"%d" % n * 10) for n in range(until, 8)]
    assert drained(again, 1)[0] == (1, "damaged", until)
    assert Damaged(0, until) == JournalReader(again, 0).read()


def test_a_length_that_asks_for_gigabytes_is_damage(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=80)
    journal.append([b"x" * 80], 0)
    first = files(tmp_path)[0]
    data = bytearray(first.read_bytes())
    data[len(MAGIC) : len(MAGIC) + 4] = b"\xff\xff\xff\x7f"
    first.write_bytes(data)
    assert drained(journal) == [(0, "damaged", 1)]


def test_segments_go_once_a_checkpoint_has_passed_them(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=80)
    for number in range(8):
        journal.append([b"%d" % number * 10], 0)
    before = len(files(tmp_path))
    journal.drop_before(4)
    assert 1 < len(files(tmp_path)) < before
    assert drained(journal, 4) == [(n, b"%d" % n * 10) for n in range(4, 8)]
    journal.drop_before(8)
    assert [one.stat().st_size for one in files(tmp_path)] == [len(MAGIC)]
    assert journal.append([b"new"], 0) == 8
    assert drained(Journal(tmp_path), 8) == [(8, b"new")]


def test_a_reader_survives_that_its_segment_goes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    reader = JournalReader(journal, 0)
    journal.append([b"a"], 0)
    reader.read()
    journal.drop_before(reader.position)
    journal.append([b"b"], 0)
    assert reader.read() == Messages(range(1, 2), [0], [b"b"])


def test_records_that_are_gone_are_not_skipped_silently(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([b"a"], 0)
    journal.drop_before(1)
    with pytest.raises(StateMismatch, match="begins at record 1 but the checkpoint ends at 0"):
        JournalReader(journal, 0)


def test_an_offset_that_a_checkpoint_knows_is_never_given_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.start_at_least(40)
    assert journal.append([b"a"], 0) == 40
    assert drained(Journal(tmp_path), 40) == [(40, b"a")]
    assert len(files(tmp_path)) == 1


def test_a_full_journal_asks_to_wait_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=200)
    journal.append([b"x" * 100], 0)
    assert journal.is_filling
    with pytest.raises(Retryable, match="full") as caught:
        journal.append([b"y" * 100], 0)
    assert caught.value.retry_after_s > 0
    assert journal.append_idle(1, 0, if_next=1)
    assert drained(journal) == [(0, b"x" * 100), (1, "idle", 1)]


def test_a_disk_that_fails_keeps_nothing_and_nobody_is_answered(tmp_path: Path, monkeypatch) -> None:
    journal = Journal(tmp_path)
    journal.append([b"a"], 0)

    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(Retryable, match="cannot be written: No space left"):
            journal.append([b"b"], 0)
    assert journal.append([b"c"], 0) == 1
    assert drained(Journal(tmp_path)) == [(0, b"a"), (1, b"c")]


def test_many_threads_share_the_disk(tmp_path: Path, monkeypatch) -> None:
    journal = Journal(tmp_path, segment_bytes=2_000)
    syncs: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda handle: (syncs.append(handle), real(handle)))
    given: dict[int, bytes] = {}

    def post(number: int) -> None:
        bodies = [b"%d/%d" % (number, n) for n in range(5)]
        first = journal.append(bodies, 0)
        given.update({first + n: body for n, body in enumerate(bodies)})

    threads = [threading.Thread(target=post, args=(number,)) for number in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert drained(journal) == sorted(given.items())
    assert len(given) == 100
    assert 0 < len(syncs) <= 20

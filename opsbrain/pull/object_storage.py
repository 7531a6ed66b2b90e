"""Reads objects of S3, or of what speaks like it, as they come under a prefix.

What is read, and what is remembered: a poll lists keys in their order and hands over each object that is younger than
the horizon and was not handed over with this ETag. Between full listings a poll begins before the lowest key that came
lately, which is near the end where keys grow with time, and near the beginning where they do not (CloudTrail's, of
several regions). A full listing that got through moves the horizon on, to `lookback_s` ago, and what is older is
forgotten: it is not looked at any more. So memory is bounded by what comes in `lookback_s`.

The files of a bill (`focus`) are read together, a folder at a time (see `opsbrain.pull.bills`).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.errors import DataError, SourceError
from opsbrain.keep import Keep
from opsbrain.output import printable
from opsbrain.pull.aws import aws_client, aws_errors
from opsbrain.pull.bills import days_of
from opsbrain.pull.bodies import bodies_of, unpacked
from opsbrain.pull.state import StateFile
from opsbrain.settings import ObjectStorage

SAVE_EVERY_S: Final = 2.0  # of work to do again after a crash
MAX_SEEN: Final = 100_000  # objects remembered, some 20 MB; beyond it the oldest are taken for done
MAX_BILLS: Final = 200  # folders of which it is remembered what each day said; a month of an export is one, or more
PART_BYTES: Final = 1 << 20

_BILLS: Final = "focus"
_BILL_ENDINGS: Final = (".csv", ".csv.gz", ".gz", ".parquet")
_OTHER_NOW: Final = ("NoSuchKey", "404", "PreconditionFailed", "412")

_log = logging.getLogger(__name__)


class _Changed(Exception):
    """An object is not what was listed a moment ago."""


class Progress(msgspec.Struct):
    """What is remembered: `seen` has ETag and time by key, `days` the digest of each day of a bill, by folder."""

    horizon_ms: int
    start_after: str = ""
    full_ms: int = 0
    seen: dict[str, tuple[str, int]] = {}
    days: dict[str, dict[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Item:
    """One object, or all files of one folder of a bill; `files` are keys and ETags."""

    key: str
    etag: str
    modified_ms: int
    files: tuple[tuple[str, str], ...]


class ObjectStoragePuller:
    """Pulls one prefix. Nothing is asked before the first poll."""

    def __init__(self, settings: ObjectStorage, keep: Keep, folder: Path, max_body_bytes: int) -> None:
        """Build it; its memory is a file in `folder`, and a body has `max_body_bytes` at most."""
        self._settings = settings
        self._keep = keep
        self._max_body_bytes = max_body_bytes
        self._max_object_bytes = settings.max_object_mb << 20
        self._bucket, _, self._prefix = settings.url.removeprefix("s3://").partition("/")
        self._file = StateFile(folder, f"object-storage-{settings.name}", Progress)
        self._progress: Progress | None = None
        self._client: Any = None
        self._closed = threading.Event()
        self._saved_s = 0.0
        self._failed: SourceError | None = None

    @property
    def name(self) -> str:
        """Return its name in the settings."""
        return f"pull.object_storage {self._settings.name}"

    @property
    def next_in_s(self) -> float:
        """Return how long to wait for the next listing."""
        return float(self._settings.poll_s)

    def close(self) -> None:
        """Let the poll under way end after the object that it is at."""
        self._closed.set()

    def poll(self, now_ms: int) -> None:
        """List, and hand over what is new; what was handed over is remembered, whatever happens then."""
        progress = self._begun(now_ms)
        full = self._is_bill or now_ms - progress.full_ms >= self._settings.full_every_s * 1000
        self._failed = None
        try:
            for item in self._new(progress, "" if full else progress.start_after, now_ms):
                self._take(item, progress, now_ms)
                self._save_at_times(progress)
            if self._failed is not None:
                raise self._failed
            if not self._closed.is_set():
                self._move_on(progress, now_ms, full)
        finally:
            self._file.save(progress)

    @property
    def _is_bill(self) -> bool:
        return self._settings.format == _BILLS

    def _begun(self, now_ms: int) -> Progress:
        if self._client is None:
            one = self._settings
            self._client = aws_client(
                "s3", self.name, one.region, one.endpoint_url, one.access_key_id, one.secret_access_key
            )
        if self._progress is None:
            self._progress = self._file.load() or Progress(now_ms - self._settings.history_s * 1000)
        return self._progress

    def _new(self, progress: Progress, start_after: str, now_ms: int) -> Iterator[Item]:
        """Yield what was not handed over yet, until it is time to end."""
        items = self._listed(start_after)
        for item in self._folders(items, now_ms) if self._is_bill else items:
            if self._closed.is_set():
                return
            if item.modified_ms >= progress.horizon_ms and progress.seen.get(item.key, ("", 0))[0] != item.etag:
                yield item

    def _listed(self, start_after: str) -> Iterator[Item]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, StartAfter=start_after
        )
        with aws_errors(f"cannot list s3://{self._bucket}/{self._prefix}"):
            for page in pages:
                for one in page.get("Contents", ()):
                    if self._is_wanted(one["Key"], one["Size"]):
                        modified_ms = int(one["LastModified"].timestamp() * 1000)
                        yield Item(one["Key"], one["ETag"], modified_ms, ((one["Key"], one["ETag"]),))

    def _is_wanted(self, key: str, size: int) -> bool:
        if not size or key.endswith("/"):
            return False
        if self._is_bill:
            return key.endswith(_BILL_ENDINGS)
        return "/CloudTrail-Digest/" not in key

    def _folders(self, items: Iterator[Item], now_ms: int) -> Iterator[Item]:
        """Yield the folders of a bill which nobody is writing to, as items that change when one of their files does."""
        folders: dict[str, list[Item]] = {}
        for item in items:
            folders.setdefault(item.key.rpartition("/")[0], []).append(item)
        for folder, files in folders.items():
            modified_ms = max(one.modified_ms for one in files)
            if now_ms - modified_ms >= self._settings.settle_s * 1000:
                said = hashlib.sha256("\n".join(f"{one.key} {one.etag}" for one in files).encode())
                yield Item(folder, said.hexdigest()[:32], modified_ms, tuple((one.key, one.etag) for one in files))

    def _take(self, item: Item, progress: Progress, now_ms: int) -> None:
        """Hand an item over and remember it; one that cannot be used is told of once, and left."""
        try:
            if self._is_bill:
                self._take_bill(item, progress, now_ms)
            else:
                parts = unpacked(self._parts(*item.files[0]), self._max_object_bytes)
                for body in bodies_of(parts, self._settings.format, self._max_body_bytes):
                    self._keep.keep(self._settings.format, body)
        except DataError as error:
            _log.warning("%s: s3://%s/%s is left out: %s", self.name, self._bucket, printable(item.key), error)
        except _Changed:  # listed again with another ETag, or gone
            return
        except SourceError as error:  # the others may be readable; this one is tried again
            self._failed = self._failed or error
            return
        progress.seen[item.key] = (item.etag, item.modified_ms)

    def _take_bill(self, item: Item, progress: Progress, now_ms: int) -> None:
        files = (b"".join(unpacked(self._parts(*file), self._max_object_bytes)) for file in item.files)
        told = progress.days[item.key] = progress.days.pop(item.key, {})  # the last to be forgotten
        for day, body in sorted(days_of(files, now_ms, self._max_body_bytes).items()):
            digest = hashlib.sha256(body).hexdigest()[:32]
            if told.get(str(day)) != digest:
                self._keep.keep(_BILLS, body)
                told[str(day)] = digest

    def _parts(self, key: str, etag: str) -> Iterator[bytes]:
        with aws_errors(f"cannot read s3://{self._bucket}/{key}", dict.fromkeys(_OTHER_NOW, _Changed)):
            body = self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=etag)["Body"]
            try:
                for part in body.iter_chunks(PART_BYTES):
                    if self._closed.is_set():
                        raise SourceError("stopped")
                    yield part
            finally:
                body.close()

    def _save_at_times(self, progress: Progress) -> None:
        if time.monotonic() - self._saved_s >= SAVE_EVERY_S:
            self._file.save(progress)
            self._saved_s = time.monotonic()

    def _move_on(self, progress: Progress, now_ms: int, full: bool) -> None:
        """Forget what is too old to be looked at again, and choose where the next poll begins."""
        lately_ms = now_ms - max(self._settings.lookback_s, 2 * self._settings.settle_s) * 1000
        recent = [key for key, (_, modified_ms) in progress.seen.items() if modified_ms >= lately_ms]
        if recent:
            progress.start_after = min(recent)[:-1]  # before that key itself, which may change
        if full:
            progress.full_ms = now_ms
            progress.horizon_ms = max(progress.horizon_ms, lately_ms)
        if len(progress.seen) > MAX_SEEN:
            newest = sorted(modified_ms for _, modified_ms in progress.seen.values())[-MAX_SEEN:]
            progress.horizon_ms = max(progress.horizon_ms, newest[0])
        progress.seen = {key: one for key, one in progress.seen.items() if one[1] >= progress.horizon_ms}
        for folder in list(progress.days)[:-MAX_BILLS]:
            del progress.days[folder]

"""Our own recordings: a folder with `recording.json` and one file of messages an input, as shippers sent them.

    {"format":"opsbrain-recording","version":1,"scope":"demo","resolution_ms":10000,
     "inputs":[{"name":"logs","kind":"logs","format":"fluentbit","file":"logs.jsonl.gz"}, ...]}

A file holds one message a line, gzipped or not; a message's offset is the number of its line, from 0 on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from engine.errors import ConfigError, SourceError
from engine.ports import Format
from engine.schemas import Kind
from engine.types import DeadLetter, Records
from ingest.content import content_of
from ingest.identity import Identity
from ingest.lines import Lines
from ingest.refused import excerpts
from ingest.scrub import Scrubber

MANIFEST: Final = "recording.json"
BATCH_LINES: Final = 20_000  # some 20 MB of messages: large enough for columns, small enough for memory
_AGAIN: Final = "record it again or bring it back"


class _Input(msgspec.Struct, frozen=True):
    name: str
    kind: Kind
    format: str
    file: str


class _Manifest(msgspec.Struct, frozen=True):
    format: str
    version: int
    scope: str
    resolution_ms: int
    inputs: tuple[_Input, ...]


class Recording:
    """Reads a recording: a Source whose partitions are its inputs.

    `formats` gives the wire format of a name. The scope of entities is the recording's own; `identity` lends its
    default namespace and overrides. `dropped` counts what formats left out, by input and reason. Raises SourceError,
    naming the file and what to do, when the manifest or a file it names is missing or broken.
    """

    def __init__(
        self, path: Path, formats: Callable[[str, Identity], Format], identity: Identity | None = None
    ) -> None:
        manifest_file = path / MANIFEST if path.is_dir() else path
        self._folder = manifest_file.parent
        self._manifest = _manifest(manifest_file)
        self._identity = replace(identity or Identity(), scope=self._manifest.scope)
        self._make = formats
        self.dropped: dict[str, Counter[str]] = {}
        self._inputs = {one.name: one for one in self._manifest.inputs}
        self._formats = {one.name: self._format(manifest_file, one) for one in self._manifest.inputs}
        for one in self._manifest.inputs:
            self._check_inside(manifest_file, one)
            Lines(self._file(one)).close()  # to hear of a missing file now, not when it is reached

    @property
    def resolution_ms(self) -> int:
        """Return the step of the recorded metrics."""
        return self._manifest.resolution_ms

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the scope of the recording, and those that overrides name."""
        return self._identity.scopes

    @property
    def identity(self) -> str:
        """Return an id of what is recorded, by its manifest and its files' names and sizes."""
        files = {self._file(one) for one in self._manifest.inputs}
        return content_of(self._folder, files, repr(self._manifest))

    def partitions(self) -> Mapping[str, Kind]:
        """Return the inputs by name."""
        return {one.name: one.kind for one in self._manifest.inputs}

    def open(self, partition: str, offset: int = 0) -> MessageReader:
        """Return a reader that stands at line `offset`."""
        if partition not in self._inputs:
            raise SourceError(f"{self._folder}: has no input '{partition}'; it has {', '.join(self._inputs)}")
        dropped = self.dropped[partition] = Counter()
        return MessageReader(self._file(self._inputs[partition]), self._formats[partition], partition, offset, dropped)

    def _file(self, one: _Input) -> Path:
        return self._folder / one.file

    def _check_inside(self, manifest_file: Path, one: _Input) -> None:
        """Raise SourceError when a file links to the outside: nobody's recording may open other files of yours."""
        try:
            inside = self._file(one).resolve().is_relative_to(self._folder.resolve())
        except (OSError, RuntimeError, ValueError) as error:
            raise SourceError(f"{manifest_file}: file '{one.file}' cannot be followed: {error}; correct it") from error
        if not inside:
            raise SourceError(f"{manifest_file}: file '{one.file}' leads outside the recording's folder; copy it in")

    def _format(self, manifest_file: Path, one: _Input) -> Format:
        try:
            found = self._make(one.format, self._identity)
        except ConfigError as error:
            raise SourceError(f"{manifest_file}: input '{one.name}': {error}; correct the manifest") from error
        if found.kind != one.kind:
            raise SourceError(
                f"{manifest_file}: input '{one.name}' says kind '{one.kind}', but '{one.format}' gives "
                f"'{found.kind}'; correct the manifest"
            )
        return found


class MessageReader:
    """Reads a file of messages, one a line, from line `offset` on; decodes `batch_lines` at a time.

    A damaged gzip file gives every whole line before the damage, then one dead letter that says so.
    """

    def __init__(
        self,
        file: Path,
        format: Format,
        input: str,
        offset: int = 0,
        dropped: Counter[str] | None = None,
        batch_lines: int = BATCH_LINES,
    ) -> None:
        self._file = file
        self._format = format
        self._input = input
        self._dropped = Counter[str]() if dropped is None else dropped
        self._batch_lines = batch_lines
        self._lines = Lines(file)
        self._position = offset
        self._ended = not self._skip(offset)

    @property
    def position(self) -> int:
        """Return the number of the next line."""
        return self._position

    def next_batch(self) -> tuple[Records | None, Sequence[DeadLetter]] | None:
        """Return the rows of the next lines and what could not be read, or None at the end."""
        if self._ended:
            return None
        bodies = self._lines.take(self._batch_lines)
        offsets = range(self._position, self._position + len(bodies))
        self._position += len(bodies)
        decoded = self._format.decode(bodies, offsets, self._input)
        rows, letters = decoded.batch, list(decoded.letters)
        self._dropped.update(decoded.dropped)
        if len(bodies) < self._batch_lines:
            self._ended = True
            letters += self._cut()
            if not bodies and not letters:
                return None
        return (Records(self._format.kind, rows, self._input, self._position) if rows.height else None), letters

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def _skip(self, count: int) -> bool:
        """Pass over lines; return whether there were as many (there are fewer behind the letter of a damaged end)."""
        while count > 0:
            passed = len(self._lines.take(min(count, self._batch_lines)))
            if passed == 0:
                return False
            count -= passed
        return True

    def _cut(self) -> list[DeadLetter]:
        if not self._lines.problem:
            return []
        where = f"{self._file.name}, after line {self._position}: {self._lines.problem}; the lines before are used"
        self._position += 1
        return [DeadLetter(self._input, self._position - 1, where, excerpts([self._lines.torn], Scrubber())[0])]


def _manifest(file: Path) -> _Manifest:
    try:
        raw = file.read_bytes()
    except FileNotFoundError as error:
        raise SourceError(f"{file}: no such file; name the folder of a recording, which holds {MANIFEST}") from error
    except OSError as error:
        raise SourceError(f"{file}: {error.strerror or error}; check the path and its permissions") from error
    try:
        manifest = msgspec.json.decode(raw, type=_Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{file}: is no recording's manifest ({error}); {_AGAIN}") from error
    problem = _problem(manifest)
    if problem:
        raise SourceError(f"{file}: {problem}")
    return manifest


def _problem(manifest: _Manifest) -> str:
    """Return what is wrong with a manifest and what to do, "" if nothing."""
    names = [one.name for one in manifest.inputs]
    outside = [one.file for one in manifest.inputs if Path(one.file).is_absolute() or ".." in Path(one.file).parts]
    if manifest.format != "opsbrain-recording":
        return f"format is '{manifest.format}', not 'opsbrain-recording'; name the folder of a recording"
    if manifest.version != 1:
        return f"version is {manifest.version}, this program reads version 1; use the program that made it, or {_AGAIN}"
    if not manifest.scope or "/" in manifest.scope or manifest.scope.split() != [manifest.scope]:
        return f"scope '{manifest.scope}' must be a word without '/'; correct it"
    if manifest.resolution_ms <= 0:
        return f"resolution_ms is {manifest.resolution_ms}, must be above 0; correct it"
    if not names or "" in names or len(set(names)) < len(names):
        return "inputs must have distinct names, one at least; correct them"
    if outside:
        return f"file '{outside[0]}' lies outside the recording's folder; correct it"
    return ""

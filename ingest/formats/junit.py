"""JUnit XML test reports, as pytest, Maven's Surefire, Gradle, GoogleTest and many others write them.

A row for each test that failed (`TestFailed`) or broke (`TestError`), and one for each suite that has tests
(`TestsPassed`, `TestsFailed`). A suite began at its time, without a zone taken as UTC; a suite that has none takes
that of the suite around it, or when the report came in. The entity is a repository: reports seldom say which, so it is
the property `CI_PROJECT_PATH` or `GITHUB_REPOSITORY` or `repository` of a suite, or else the name of the report.

The text is read once, from front to back: no document type (and so no entity that expands), no more than 64 levels, no
values of properties anywhere but of the three above, no report beyond 64 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final
from xml.parsers import expat

import msgspec

from engine.ports import Decoded
from engine.schemas import Kind
from ingest.event_rows import EventRow, Found, LeftOut, decode_events
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber

EMPTY_SUITE: Final = "a suite without tests"
_MAX_DEPTH: Final = 64
_MAX_BYTES: Final = 64 * 1024 * 1024
_MAX_TEXT_CHARS: Final = 2_000  # of what a failure says; only its first lines are told
_TOLD_LINES: Final = 3
_PROJECTS: Final = ("CI_PROJECT_PATH", "GITHUB_REPOSITORY", "repository")
_UNTELLING: Final = ("", "pytest tests", "AllTests", "tests")
_BAD: Final = {"failure": "TestFailed", "error": "TestError"}
_ZONED: Final = re.compile(r"Z|[+-]\d\d:?\d\d$")
_VALUE: Final = re.compile(rb"""(<property\b[^>]*?\bvalue\s*=\s*)(?:"[^"]*"?|'[^']*'?)""")


@dataclass(slots=True)
class _Case:
    name: str
    reason: str = ""
    said: str = ""
    text: str = ""
    type: str = ""
    skipped: bool = False


@dataclass(slots=True)
class _Suite:
    name: str
    time: str | None
    project: str
    seconds: str = ""
    outer: _Suite | None = None
    cases: list[_Case] = field(default_factory=list)
    suites: int = 0


@dataclass(frozen=True, slots=True)
class Junit:
    """Decodes test reports."""

    name: ClassVar[str] = "junit"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return a row a suite and a bad test of it, and a dead letter for each message that is no report."""
        refused = Refused(bodies, offsets, input, self.scrubber, _kept)
        return decode_events(refused, self.scrubber, received_ms, _suites, self._read)

    def _read(self, suites: Sequence[_Suite]) -> Iterator[Found]:
        for suite in suites:
            entity = self.identity.ci(_project(suite))
            yield from (_of_case(suite, case, entity) for case in suite.cases if case.reason)
            if suite.cases:
                yield _of_suite(suite, entity)
            elif not suite.suites:
                yield LeftOut(EMPTY_SUITE)


class _Reader:
    """Reads the suites of one report; holds the suites that are open and the case that is being read."""

    __slots__ = ("_case", "_depth", "_open", "_parser", "_told", "suites")

    def __init__(self) -> None:
        self.suites: list[_Suite] = []
        self._open: _Suite | None = None
        self._case: _Case | None = None
        self._told = False  # inside of a failure or error, whose text is read
        self._depth = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = _refuse_doctype

    def read(self, body: bytes) -> list[_Suite]:
        self._parser.Parse(body, True)
        return self.suites

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise msgspec.ValidationError("nested too deeply")
        if self._depth == 1 and tag not in ("testsuites", "testsuite"):
            raise msgspec.ValidationError("neither testsuites nor a testsuite")
        if tag in ("testsuites", "testsuite"):
            self._enter(tag, attributes)
        elif tag == "testcase" and self._open:
            self._case = _Case(_name_of(attributes))
            self._open.cases.append(self._case)
        elif tag == "property" and self._open and attributes.get("name") in _PROJECTS:
            self._open.project = self._open.project or attributes.get("value", "")
        elif self._case:
            self._in_case(self._case, tag, attributes)

    def _enter(self, tag: str, attributes: dict[str, str]) -> None:
        outer = self._open
        time = attributes.get("timestamp") or (outer.time if outer else None)
        name = attributes.get("name", "")
        self._open = _Suite(name, time, outer.project if outer else "", attributes.get("time", ""), outer)
        if outer:
            outer.suites += 1
        if tag == "testsuite":
            self.suites.append(self._open)

    def _in_case(self, case: _Case, tag: str, attributes: dict[str, str]) -> None:
        if tag == "skipped":
            case.skipped = True
        elif tag in _BAD and not case.reason:
            case.reason = _BAD[tag]
            case.said, case.type = attributes.get("message", ""), attributes.get("type", "")
            self._told = True

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag in _BAD:
            self._told = False
        elif tag == "testcase":
            self._case = None
        elif tag in ("testsuites", "testsuite") and self._open:
            self._open = self._open.outer

    def _text(self, text: str) -> None:
        if self._told and self._case and len(self._case.text) < _MAX_TEXT_CHARS:
            self._case.text += text[:_MAX_TEXT_CHARS]


def _suites(body: bytes) -> list[_Suite]:
    """Return the suites of a report, outer ones first. Raises msgspec.ValidationError when it is none."""
    if len(body) > _MAX_BYTES:
        raise msgspec.ValidationError("larger than 64 MiB")
    try:
        return _Reader().read(body)
    except msgspec.ValidationError:
        raise
    except expat.ExpatError as error:
        raise msgspec.ValidationError(f"no XML: {expat.ErrorString(error.code)}") from error
    except (LookupError, ValueError) as error:  # an encoding that expat asks Python for
        raise msgspec.ValidationError("an encoding that cannot be read") from error


def _refuse_doctype(*_: object) -> None:
    raise msgspec.ValidationError("a document type, which no report needs")


def _name_of(attributes: dict[str, str]) -> str:
    return ".".join(one for one in (attributes.get("classname"), attributes.get("name")) if one)


def _project(suite: _Suite) -> str:
    """Return the repository that a suite tests, as it or one around it says, or the name of the whole report."""
    name = ""
    one: _Suite | None = suite
    while one:
        if one.project:
            return one.project
        name = one.name if one.outer is None and one is not suite else name
        one = one.outer
    return name if name not in _UNTELLING else "tests"


def _said(case: _Case) -> str:
    return next((one for one in (case.said, case.text, case.type) if one.strip()), "")


def _of_case(suite: _Suite, case: _Case, entity: str) -> EventRow:
    lines = [line.strip() for line in _said(case).splitlines() if line.strip()]
    first = "; ".join(lines[:_TOLD_LINES])
    return EventRow(
        time=_time(suite),
        entity=entity,
        reason=case.reason,
        message=f"{case.name}: {first}" if first else case.name,
        warning=True,
        uid=case.name,
        facts=("junit", suite.name, case.name, case.reason) if suite.time else (),
    )


def _of_suite(suite: _Suite, entity: str) -> EventRow:
    failed, broken = (sum(case.reason == reason for case in suite.cases) for reason in ("TestFailed", "TestError"))
    skipped = sum(case.skipped for case in suite.cases)
    bad = bool(failed or broken)
    took = f" in {suite.seconds} s" if suite.seconds else ""
    counts = f"{len(suite.cases)} tests, {failed} failed, {broken} with errors, {skipped} skipped"
    return EventRow(
        time=_time(suite),
        entity=entity,
        reason="TestsFailed" if bad else "TestsPassed",
        message=f"{suite.name or 'tests'}: {counts}{took}",
        warning=bad,
        uid=suite.name,
        facts=("junit", suite.name, counts) if suite.time else (),
    )


def _time(suite: _Suite) -> str | None:
    return f"{suite.time}Z" if suite.time and not _ZONED.search(suite.time) else suite.time


def _kept(body: bytes) -> bytes:
    """Return what a dead letter may keep: Surefire writes every system property into its reports, secrets and all."""
    return _VALUE.sub(rb'\1"<scrubbed>"', body[:16_384])

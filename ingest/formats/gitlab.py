"""GitLab's deployment, job and pipeline hooks: one hook a message, a row a hook.

A deployment is an event of the service that the project delivers (see `ingest.identity`), jobs and pipelines are events
of the project. Times come as `2021-04-28 21:50:00 +0200`, as `... UTC`, or as RFC 3339. A hook says when things were
created, started and finished but not when it was sent: it happened at the latest of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from engine.ports import Decoded
from engine.schemas import Kind
from ingest.event_rows import EventRow, Found, LeftOut, Unusable, camel, decode_events, latest, sentence
from ingest.identity import Identity
from ingest.refused import UNREADABLE, Refused
from ingest.scrub import Scrubber

OTHER: Final = "not a deployment, job or pipeline"
_SPACED_ZONE: Final = re.compile(r"(\S+) (\S+) (?:(UTC)|([+-]\d\d:?\d\d))")
_VALUE: Final = re.compile(rb"""("value"\s*:\s*)"(?:[^"\\]|\\.)*(?:"|$)""", re.DOTALL)
_ENDINGS: Final = {"success": "Succeeded", "failed": "Failed", "canceled": "Canceled"}
_DEPLOYMENTS: Final = {"running": "DeployStarted", "success": "Deployed"}


class _Project(msgspec.Struct):
    path_with_namespace: str | None = None


class _Repository(msgspec.Struct):
    homepage: str | None = None


class _User(msgspec.Struct):
    username: str | None = None


class _Build(msgspec.Struct):
    name: str | None = None
    status: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None


class _Pipeline(msgspec.Struct):
    id: int | str
    status: str
    ref: str | None = None
    sha: str | None = None
    source: str | None = None
    created_at: str | None = None
    finished_at: str | None = None


class _Hook(msgspec.Struct):
    object_kind: str
    project: _Project | None = None
    project_name: str | None = None
    repository: _Repository | None = None
    user: _User | None = None
    ref: str | None = None
    status: str | None = None
    status_changed_at: str | None = None
    deployment_id: int | str | None = None
    environment: msgspec.Raw = msgspec.Raw(b"null")
    environment_tier: str | None = None
    short_sha: str | None = None
    commit_title: str | None = None
    sha: str | None = None
    build_id: int | str | None = None
    build_name: str | None = None
    build_stage: str | None = None
    build_status: str | None = None
    build_created_at: str | None = None
    build_started_at: str | None = None
    build_finished_at: str | None = None
    build_failure_reason: str | None = None
    pipeline_id: int | str | None = None
    object_attributes: msgspec.Raw = msgspec.Raw(b"null")
    builds: list[_Build] | None = None


@dataclass(frozen=True, slots=True)
class Gitlab:
    """Decodes hooks; other kinds of hooks are left out."""

    name: ClassVar[str] = "gitlab"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a hook, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber, _kept)
        return decode_events(refused, self.scrubber, received_ms, _DECODER.decode, self._read)

    def _read(self, hook: _Hook) -> Iterator[Found]:
        if hook.object_kind not in ("deployment", "build", "pipeline"):
            yield LeftOut(OTHER)
            return
        path = _path(hook)
        if not path:
            yield Unusable("no project")
        elif hook.object_kind == "deployment":
            yield self._deployment(hook, path)
        elif hook.object_kind == "build":
            yield self._job(hook, path)
        else:
            yield self._pipeline(hook, path)

    def _deployment(self, hook: _Hook, path: str) -> Found:
        if not hook.status:
            return Unusable("a deployment without a status")
        environment = _text(hook.environment)
        if environment is None:
            return Unusable("a deployment's environment is no text")
        tier = hook.environment_tier
        return EventRow(
            time=iso(hook.status_changed_at),
            entity=self.identity.deployed(path, environment, tier == "production" if tier else None),
            reason=_DEPLOYMENTS.get(hook.status, f"Deploy{camel(hook.status)}"),
            message=sentence(
                f"deployment of {path}",
                hook.ref,
                hook.short_sha,
                f"to {environment}" if environment else None,
                f"{hook.status}:" if hook.commit_title else hook.status,
                hook.commit_title,
                _by(hook),
            ),
            warning=hook.status == "failed",
            uid=str(hook.deployment_id or ""),
            facts=_facts("deployment", hook.deployment_id, hook.status),
        )

    def _job(self, hook: _Hook, path: str) -> Found:
        if not hook.build_status:
            return Unusable("a job without a status")
        why = hook.build_failure_reason if hook.build_status == "failed" else None
        return EventRow(
            time=_latest(hook.build_created_at, hook.build_started_at, hook.build_finished_at),
            entity=self.identity.ci(path),
            reason=f"Job{_ENDINGS.get(hook.build_status) or camel(hook.build_status)}",
            message=sentence(
                f"job {hook.build_name or hook.build_id} of stage {hook.build_stage or '?'}",
                f"{hook.build_status}{f' ({why})' if why else ''}: {path}",
                hook.ref,
                (hook.sha or "")[:8],
                _by(hook),
            ),
            warning=hook.build_status == "failed",
            uid=str(hook.build_id or ""),
            facts=_facts("job", hook.build_id, hook.build_status),
        )

    def _pipeline(self, hook: _Hook, path: str) -> Found:
        try:
            pipeline = _PIPELINES.decode(hook.object_attributes)
        except UNREADABLE:
            return Unusable("a pipeline without an id or status")
        builds = hook.builds or []
        failed = [one.name or "?" for one in builds if one.status == "failed"]
        times = [time for one in builds for time in (one.created_at, one.started_at, one.finished_at)]
        return EventRow(
            time=_latest(pipeline.created_at, pipeline.finished_at, *times),
            entity=self.identity.ci(path),
            reason=f"Pipeline{_ENDINGS.get(pipeline.status) or camel(pipeline.status)}",
            message=sentence(
                f"pipeline {pipeline.id} {pipeline.status}: {path}",
                pipeline.ref,
                (pipeline.sha or "")[:8],
                f"after {pipeline.source}" if pipeline.source else None,
                _by(hook),
                f"failed: {', '.join(failed)}" if failed else None,
            ),
            warning=pipeline.status == "failed",
            uid=str(pipeline.id),
            facts=_facts("pipeline", pipeline.id, pipeline.status),
        )


def iso(time: str | None) -> str | None:
    """Return a time as GitLab writes it in the form of RFC 3339; what has another form stays.

    >>> iso("2021-04-28 21:50:00 +0200"), iso("2021-02-23 02:41:37 UTC")
    ('2021-04-28T21:50:00+0200', '2021-02-23T02:41:37Z')
    """
    match = _SPACED_ZONE.fullmatch(time) if time else None
    return f"{match[1]}T{match[2]}{'Z' if match[3] else match[4]}" if match else time or None


def _latest(*times: str | None) -> str | None:
    return latest(*map(iso, times))


def _path(hook: _Hook) -> str:
    """Return `group/project`; hooks of older versions name it only in the repository's address, or spaced."""
    if hook.project and hook.project.path_with_namespace:
        return hook.project.path_with_namespace
    if hook.repository and hook.repository.homepage:
        try:
            return urlsplit(hook.repository.homepage).path.strip("/")
        except ValueError:
            return ""
    return "/".join(part.strip() for part in (hook.project_name or "").split("/"))


def _text(raw: msgspec.Raw) -> str | None:
    """Return the environment of a deployment; None where it is no text (of a job it is an object, and nobody asks)."""
    try:
        return msgspec.json.decode(raw, type=str | None) or ""
    except UNREADABLE:
        return None


def _by(hook: _Hook) -> str | None:
    return f"by {hook.user.username}" if hook.user and hook.user.username else None


def _kept(body: bytes) -> bytes:
    """Return what a dead letter may keep: a pipeline's variables are told by name and value, and may be secrets."""
    return _VALUE.sub(rb'\1"<scrubbed>"', body)


def _facts(what: str, id: int | str | None, status: str) -> tuple[str, ...]:
    return ("gitlab", what, str(id), status) if id is not None else ()


_DECODER: Final = msgspec.json.Decoder(_Hook)
_PIPELINES: Final = msgspec.json.Decoder(_Pipeline)

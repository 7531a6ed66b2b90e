"""GitHub's webhooks about deployments and workflows: one delivery a message, a row a delivery.

The name of the event is in a header, and only bodies are kept: they are told apart by their keys. A deployment is an
event of the service that the repository delivers (see `ingest.identity`); workflow runs, jobs, checks of other services
and releases are events of the repository. Checks of GitHub Actions are left out: their jobs tell the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import msgspec

from engine.ports import Decoded
from engine.schemas import Kind
from ingest.event_rows import EventRow, Found, LeftOut, Unusable, camel, decode_events, latest, sentence
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber

OTHER: Final = "not a deployment, workflow, check or release"
TOLD_BY_JOB: Final = "check of GitHub Actions, told by its job"
_ENDINGS: Final = {"success": "Succeeded", "failure": "Failed", "cancelled": "Canceled"}
_DEPLOYMENTS: Final = {
    "in_progress": "DeployStarted",
    "success": "Deployed",
    "failure": "DeployFailed",
    "error": "DeployFailed",
}
_BAD_ENDS: Final = ("failure", "timed_out", "startup_failure")


class _Repository(msgspec.Struct):
    full_name: str


class _Actor(msgspec.Struct):
    login: str | None = None
    slug: str | None = None


class _Deployment(msgspec.Struct):
    id: int
    environment: str | None = None
    production_environment: bool | None = None
    transient_environment: bool | None = None
    ref: str | None = None
    sha: str | None = None
    task: str | None = None
    created_at: str | None = None


class _Status(msgspec.Struct):
    id: int
    state: str
    description: str | None = None
    environment: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class _Work(msgspec.Struct):
    """What a workflow run, a job of it, and a check have in common."""

    id: int
    name: str | None = None
    status: str | None = None
    conclusion: str | None = None
    workflow_name: str | None = None
    head_sha: str | None = None
    head_branch: str | None = None
    event: str | None = None
    run_number: int | None = None
    run_attempt: int | None = None
    created_at: str | None = None
    run_started_at: str | None = None
    updated_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    app: _Actor | None = None


class _Release(msgspec.Struct):
    id: int
    tag_name: str | None = None
    name: str | None = None
    created_at: str | None = None
    published_at: str | None = None


class _Delivery(msgspec.Struct):
    action: str | None = None
    repository: _Repository | None = None
    sender: _Actor | None = None
    deployment_status: _Status | None = None
    deployment: _Deployment | None = None
    workflow_job: _Work | None = None
    workflow_run: _Work | None = None
    check_run: _Work | None = None
    release: _Release | None = None
    since: msgspec.Raw = msgspec.Raw()  # only a review of a deployment has it, and that has a workflow_run too


@dataclass(frozen=True, slots=True)
class Github:
    """Decodes deliveries; other events are left out."""

    name: ClassVar[str] = "github"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a delivery, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        return decode_events(refused, self.scrubber, received_ms, _DECODER.decode, self._read)

    def _read(self, told: _Delivery) -> Iterator[Found]:
        path = told.repository.full_name if told.repository else ""
        found = self._found(told, path)
        yield Unusable("no repository") if isinstance(found, EventRow) and not path else found

    def _found(self, told: _Delivery, path: str) -> Found:
        """Return the row; the order matters, since a job may carry its deployment, and a deployment its run."""
        if told.workflow_job:
            return self._job(told, told.workflow_job, path)
        if told.deployment_status and told.deployment:
            return self._status(told, told.deployment_status, told.deployment, path)
        if told.deployment and told.action == "created":
            return self._deployment(told, told.deployment, path)
        if told.workflow_run and not bytes(told.since) and not told.deployment:
            return self._run(told, told.workflow_run, path)
        if told.check_run and told.action == "completed":
            return self._check(told, told.check_run, path)
        if told.release and told.action == "published":
            return self._release(told, told.release, path)
        return LeftOut(OTHER)

    def _status(self, told: _Delivery, status: _Status, deployment: _Deployment, path: str) -> Found:
        environment = status.environment or deployment.environment
        return EventRow(
            time=latest(status.created_at, status.updated_at),
            entity=self.identity.deployed(path, environment or "", _production(deployment)),
            reason=_DEPLOYMENTS.get(status.state, f"Deploy{camel(status.state)}"),
            message=sentence(
                *_deployment_words(deployment, environment, path), status.state, status.description, _by(told)
            ),
            warning=status.state in ("failure", "error"),
            uid=str(deployment.id),
            facts=("github", "deployment_status", str(status.id), status.state),
        )

    def _deployment(self, told: _Delivery, deployment: _Deployment, path: str) -> Found:
        environment = deployment.environment
        return EventRow(
            time=deployment.created_at,
            entity=self.identity.deployed(path, environment or "", _production(deployment)),
            reason="DeployCreated",
            message=sentence(*_deployment_words(deployment, environment, path), "created", _by(told)),
            uid=str(deployment.id),
            facts=("github", "deployment", str(deployment.id), "created"),
        )

    def _job(self, told: _Delivery, job: _Work, path: str) -> Found:
        workflow = f"of {job.workflow_name}" if job.workflow_name else None
        return self._work(told, job, path, "Job", sentence("job", job.name, workflow))

    def _run(self, told: _Delivery, run: _Work, path: str) -> Found:
        number = f"{run.run_number}" if run.run_number is not None else None
        after = f"after {run.event}" if run.event else None
        return self._work(told, run, path, "Workflow", sentence("workflow", run.name, number, after))

    def _check(self, told: _Delivery, check: _Work, path: str) -> Found:
        if check.app and check.app.slug == "github-actions":
            return LeftOut(TOLD_BY_JOB)
        return self._work(told, check, path, "Check", sentence("check", check.name))

    def _work(self, told: _Delivery, work: _Work, path: str, what: str, words: str) -> Found:
        state = work.conclusion or work.status or told.action or ""
        return EventRow(
            time=_time(work),
            entity=self.identity.ci(path),
            reason=f"{what}{_ENDINGS.get(state) or camel(state)}" if state else "",
            message=sentence(words, f"{state}: {path}", work.head_branch, (work.head_sha or "")[:8], _by(told)),
            warning=state in _BAD_ENDS,
            uid=str(work.id),
            facts=("github", what, str(work.id), str(work.run_attempt or 1), state),
        )

    def _release(self, told: _Delivery, release: _Release, path: str) -> Found:
        name = release.name if release.name != release.tag_name else None
        return EventRow(
            time=latest(release.created_at, release.published_at),
            entity=self.identity.ci(path),
            reason="Released",
            message=sentence(f"release of {path}", release.tag_name, name, _by(told)),
            uid=str(release.id),
            facts=("github", "release", str(release.id), "published"),
        )


def _time(work: _Work) -> str | None:
    """Return when work came to where it is: at its end, its beginning, or when it was asked for.

    A run's `updated_at` moves with it; jobs and checks have none.
    """
    if work.conclusion:
        return work.completed_at or latest(work.updated_at, work.run_started_at, work.created_at)
    return latest(work.started_at, work.run_started_at, work.updated_at, work.created_at)


def _production(deployment: _Deployment) -> bool | None:
    """Return whether the environment is production: GitHub says False as well where it was not told."""
    return True if deployment.production_environment else None


def _deployment_words(deployment: _Deployment, environment: str | None, path: str) -> tuple[str | None, ...]:
    revision = (deployment.sha or "")[:8]
    return f"deployment of {path}", deployment.ref, revision, f"to {environment}" if environment else None


def _by(told: _Delivery) -> str | None:
    return f"by {told.sender.login}" if told.sender and told.sender.login else None


_DECODER: Final = msgspec.json.Decoder(_Delivery)

"""Terraform: lines of `plan -json` and `apply -json`, or a whole plan as `show -json` writes it; a row a change.

Lines become events where something was planned (`PlannedUpdate`), drifted, was done (`ApplyComplete`), failed, or is
summed up; lines that tell of progress are left out. Of a plan, each resource that is not left as it is becomes a row.

A plan holds secrets in plain. A row names the resource, the attributes that change, and old and new values of plain
ones: never those that Terraform marks as sensitive or does not know yet, nor those under a secret's name; and nothing
of a plan is kept in a dead letter.

The entity is what the resource stands for: by its ARN, by its type and name, or by the Kubernetes object; else the
module, as `terraform/root` or `terraform/module.network`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from engine.ports import Decoded
from engine.schemas import Kind
from ingest.aws_resources import arn_of, arns_of
from ingest.event_rows import EventRow, Found, LeftOut, Unusable, camel, decode_events, sentence
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber, looks_secret

PROGRESS: Final = "progress, no change"
UNCHANGED: Final = "no-op or read"
NO_PLAN: Final = "a state or a plan without changes"
_NOT_KEPT: Final = b"(a Terraform plan holds secrets in plain: nothing of it is kept)"
_KEYS_OF_PLANS: Final = (b"format_version", b"planned_values", b"prior_state", b"resource_changes", b"variables")
_MAJOR_VERSIONS: Final = ("0", "1")
_IDLE_ACTIONS: Final = ("no-op", "noop", "read")
_SUMMARIES: Final = {"plan": "Planned", "apply": "Applied", "destroy": "Destroyed"}
_SHOWN_ATTRIBUTES: Final = 8
_SHOWN_CHARS: Final = 60
_DETAIL_CHARS: Final = 500
_VERSIONED: Final = re.compile(r"_v\d\w*$")
_KUBERNETES_KINDS: Final = {"Daemonset": "DaemonSet"}
# of a type of resource: how its ARN is written, the attribute that has its name, and whether its id is that name too
_OF_TYPE: Final[Mapping[str, tuple[str, str, bool]]] = {
    "aws_instance": ("ec2:instance/", "id", True),
    "aws_db_instance": ("rds:db:", "identifier", False),
    "aws_rds_cluster": ("rds:cluster:", "cluster_identifier", True),
    "aws_sqs_queue": ("sqs:", "name", True),
    "aws_sns_topic": ("sns:", "name", True),
    "aws_kinesis_stream": ("kinesis:stream/", "name", True),
    "aws_msk_cluster": ("kafka:cluster/", "cluster_name", True),
    "aws_lambda_function": ("lambda:function:", "function_name", True),
    "aws_ecs_service": ("ecs:service/", "name", True),
    "aws_ecs_task_definition": ("ecs:task-definition/", "family", True),
    "aws_eks_cluster": ("eks:cluster/", "name", True),
    "aws_eks_node_group": ("eks:cluster/", "cluster_name", False),
    "aws_s3_bucket": ("s3:", "bucket", True),
    "aws_dynamodb_table": ("dynamodb:table/", "name", True),
    "aws_elasticache_replication_group": ("elasticache:replicationgroup:", "replication_group_id", True),
    "aws_lb": ("elasticloadbalancing:loadbalancer/", "name", True),
    "aws_autoscaling_group": ("autoscaling:autoScalingGroup:-:autoScalingGroupName/", "name", True),
}


class _Resource(msgspec.Struct):
    addr: str
    module: str | None = ""
    resource_type: str | None = ""


class _Hook(msgspec.Struct):
    resource: _Resource | None = None
    action: str | None = None
    reason: str | None = None
    id_value: str | None = None
    elapsed_seconds: float | None = None


class _Diagnostic(msgspec.Struct):
    severity: str
    summary: str = ""
    detail: str | None = None
    address: str | None = None


class _Counts(msgspec.Struct):
    add: int = 0
    change: int = 0
    remove: int = 0
    operation: str = ""


class _Change(msgspec.Struct):
    actions: list[str]
    before: Any = None
    after: Any = None
    after_unknown: Any = None
    before_sensitive: Any = None
    after_sensitive: Any = None


class _Planned(msgspec.Struct):
    address: str
    change: _Change
    type: str = ""
    module_address: str | None = None
    deposed: str | None = None
    action_reason: str | None = None


class _Body(msgspec.Struct):
    """A line (which has a type), or a plan (which has a format version)."""

    type: str | None = None
    message: str | None = msgspec.field(default=None, name="@message")
    level: str | None = msgspec.field(default=None, name="@level")
    at: str | None = msgspec.field(default=None, name="@timestamp")
    ui: str | None = None
    change: _Hook | None = None
    hook: _Hook | None = None
    changes: _Counts | None = None
    diagnostic: _Diagnostic | None = None
    format_version: str | None = None
    timestamp: str | None = None
    resource_changes: list[_Planned] | None = None


@dataclass(frozen=True, slots=True)
class Terraform:
    """Decodes what Terraform plans and does."""

    name: ClassVar[str] = "terraform"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a change, and a dead letter for each message that is neither a line nor a plan."""
        refused = Refused(bodies, offsets, input, self.scrubber, _kept)
        return decode_events(refused, self.scrubber, received_ms, _DECODER.decode, self._read)

    def _read(self, body: _Body) -> Iterator[Found]:
        if body.format_version is not None:
            yield from self._plan(body, body.format_version)
        elif body.type is None and body.message is None:
            yield Unusable("neither a line of -json nor a plan of show -json")
        else:
            yield self._line(body)

    def _line(self, line: _Body) -> Found:
        if line.type == "version" and line.ui and line.ui.partition(".")[0] not in _MAJOR_VERSIONS:
            return Unusable("version of the machine-readable UI is not 1.x")
        if line.type in ("planned_change", "resource_drift") and line.change:
            return self._announced(line, line.change)
        if line.type in ("apply_complete", "apply_errored", "provision_errored") and line.hook:
            return self._done(line, line.hook)
        if line.type == "change_summary" and line.changes:
            return self._summary(line, line.changes)
        if line.type == "diagnostic" and line.diagnostic and line.diagnostic.severity == "error":
            return self._error(line, line.diagnostic)
        return LeftOut(PROGRESS)

    def _announced(self, line: _Body, change: _Hook) -> Found:
        if change.action in _IDLE_ACTIONS:
            return LeftOut(UNCHANGED)
        reason = "DriftDetected" if line.type == "resource_drift" else f"Planned{camel(change.action or 'change')}"
        return self._of_line(line, change.resource, reason, line.message or "")

    def _done(self, line: _Body, hook: _Hook) -> Found:
        if hook.action in _IDLE_ACTIONS:
            return LeftOut(UNCHANGED)
        return self._of_line(
            line,
            hook.resource,
            camel(line.type or ""),
            line.message or "",
            line.type != "apply_complete",
            hook.id_value,
        )

    def _summary(self, line: _Body, counts: _Counts) -> Found:
        reason = _SUMMARIES.get(counts.operation) or camel(counts.operation)
        return self._of_line(line, None, reason, line.message or "")

    def _error(self, line: _Body, error: _Diagnostic) -> Found:
        where = f"{error.address}:" if error.address else None
        words = sentence(where, error.summary, (error.detail or "")[:_DETAIL_CHARS])
        resource = _Resource(error.address, _module_of(error.address)) if error.address else None
        return self._of_line(line, resource, "TerraformError", words, warning=True)

    def _of_line(
        self,
        line: _Body,
        resource: _Resource | None,
        reason: str,
        message: str,
        warning: bool = False,
        id: str | None = None,
    ) -> EventRow:
        address = resource.addr if resource else ""
        return EventRow(
            time=line.at,
            entity=self._of_id(resource, id or ""),
            reason=reason,
            message=message,
            warning=warning,
            uid=address,
            facts=("terraform", line.type or "", address, message, line.at) if line.at else (),
        )

    def _of_id(self, resource: _Resource | None, id: str) -> str:
        """Return the entity of a resource of which only its type and id are known."""
        if resource is None:
            return self._module("")
        type = resource.resource_type or ""
        if id.startswith("arn:"):
            return self.identity.of_arn(id)
        if id and type.startswith("kubernetes_"):
            namespace, _, name = id.rpartition("/")
            return self.identity.of_involved(_kubernetes_kind(type), namespace, name)
        kind, _, telling = _OF_TYPE.get(type, ("", "", False))
        if id and telling:
            return self.identity.of_arn(arn_of(kind, "::", id.rstrip("/").rpartition("/")[2]))
        return self._module(resource.module or "")

    def _plan(self, plan: _Body, version: str) -> Iterator[Found]:
        if version.partition(".")[0] not in _MAJOR_VERSIONS:
            yield Unusable("format_version of the plan is not 1.x")
            return
        if not plan.resource_changes:
            yield LeftOut(NO_PLAN)
        for planned in plan.resource_changes or ():
            if not planned.change.actions or set(planned.change.actions) <= set(_IDLE_ACTIONS):
                yield LeftOut(UNCHANGED)
            else:
                yield self._planned(planned, plan.timestamp)

    def _planned(self, planned: _Planned, timestamp: str | None) -> EventRow:
        actions = planned.change.actions
        action = "replace" if {"create", "delete"} <= set(actions) else actions[0]
        changed = _changed(planned.change) if action in ("update", "replace") else []
        return EventRow(
            time=timestamp,
            entity=self._of_attributes(planned),
            reason=f"Planned{camel(action)}",
            message=sentence(
                f"{planned.address}: plan to {action}",
                f"({planned.action_reason})" if planned.action_reason else None,
                _listed(changed),
            ),
            uid=planned.address,
            facts=("terraform", "plan", planned.address, planned.deposed or "", action) if timestamp else (),
        )

    def _of_attributes(self, planned: _Planned) -> str:
        """Return the entity of a resource by what it is after the change, or was before."""
        for said in (planned.change.after, planned.change.before):
            if isinstance(said, Mapping) and (entity := self._of_said(planned.type, said)):
                return entity
        return self._module(planned.module_address or "")

    def _of_said(self, type: str, said: Mapping[str, Any]) -> str:
        if type.startswith("kubernetes_"):
            return self._of_kubernetes(type, said)
        if type == "helm_release" and isinstance(said.get("name"), str):
            return self.identity.service(said["name"], _text(said.get("namespace")))
        if not type.startswith("aws_"):
            return ""
        found = [self.identity.of_arn(arn) for arn in _arns(type, said)]
        return next((one for one in found if one.split("/")[1] != "account"), next(iter(found), ""))

    def _of_kubernetes(self, type: str, said: Mapping[str, Any]) -> str:
        manifest = said.get("manifest")
        if isinstance(manifest, Mapping):
            return self.identity.of_object(manifest)
        metadata = said.get("metadata")
        metadata = metadata[0] if isinstance(metadata, list) and metadata else metadata
        if not isinstance(metadata, Mapping) or not _text(metadata.get("name")):
            return ""
        given = metadata.get("labels")
        labels = (
            {str(key): value for key, value in given.items() if isinstance(value, str)}
            if isinstance(given, Mapping)
            else {}
        )
        return self.identity.of_involved(
            _kubernetes_kind(type), _text(metadata.get("namespace")), _text(metadata.get("name")), labels
        )

    def _module(self, module: str) -> str:
        return self.identity.ci(f"terraform/{module or 'root'}")


def _arns(type: str, said: Mapping[str, Any]) -> Iterator[str]:
    """Yield ARNs of an AWS resource: its own, one made of its type and name, those of what it belongs to."""
    own = _text(said.get("arn"))
    if own:
        yield own
    kind, name, _ = _OF_TYPE.get(type, ("", "", False))
    if _text(said.get(name)):
        yield arn_of(kind, "::", _text(said.get(name)))
    account = own.split(":")[4] if own.count(":") >= 5 else ""
    belongs = {key: value for key, value in said.items() if not _text(value).startswith("arn:")}
    yield from arns_of(belongs, type.split("_")[1] if "_" in type else "", "", account)


def _changed(change: _Change) -> list[str]:
    """Return the attributes that differ, with old and new values where these may be told."""
    before = change.before if isinstance(change.before, Mapping) else {}
    after = change.after if isinstance(change.after, Mapping) else {}
    found = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if _marked(change.after_unknown, key):
            found.append(f"{key} -> (known after apply)")
        elif old != new:
            hidden = looks_secret(key) or any(
                _marked(one, key) for one in (change.before_sensitive, change.after_sensitive)
            )
            plain = not hidden and _plain(old) and _plain(new)
            found.append(f"{key} {_shown(old)} -> {_shown(new)}" if plain else key)
    return found


def _marked(marks: Any, key: str) -> bool:
    """Return whether an attribute, or anything within it, is marked as sensitive or unknown."""
    return _any(marks.get(key)) if isinstance(marks, Mapping) else _any(marks)


def _any(marks: Any) -> bool:
    if isinstance(marks, Mapping):
        return any(_any(one) for one in marks.values())
    return any(_any(one) for one in marks) if isinstance(marks, list) else marks is True


def _plain(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, bool | int | float)
        or (isinstance(value, str) and len(value) <= _SHOWN_CHARS)
    )


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value).lower() if isinstance(value, bool) else str(value) or '""'


def _listed(changed: Sequence[str]) -> str | None:
    more = f" and {len(changed) - _SHOWN_ATTRIBUTES} more" if len(changed) > _SHOWN_ATTRIBUTES else ""
    return f"changes {', '.join(changed[:_SHOWN_ATTRIBUTES])}{more}" if changed else None


def _kubernetes_kind(type: str) -> str:
    """Return the kind of object that `kubernetes_config_map_v1` stands for: ConfigMap."""
    kind = camel(_VERSIONED.sub("", type.removeprefix("kubernetes_")))
    return _KUBERNETES_KINDS.get(kind, kind)


def _module_of(address: str) -> str:
    """Return the module of a resource's address: `module.network` of `module.network.aws_vpc.main`."""
    parts = address.split(".")
    steps = 0
    while steps + 1 < len(parts) and parts[steps] == "module":
        steps += 2
    return ".".join(parts[:steps])


def _kept(body: bytes) -> bytes:
    """Return what a dead letter may keep: all of a line, nothing of what may be a plan or a part of one."""
    return body if b'"@message"' in body and not any(key in body for key in _KEYS_OF_PLANS) else _NOT_KEPT


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_DECODER: Final = msgspec.json.Decoder(_Body)

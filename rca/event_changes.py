"""Which events tell of a change: one table of reasons, first match wins.

Senders say what they did in words of their own: Kubernetes rolls out and scales, CI deploys, Argo CD syncs, Terraform
applies, and somebody calls AWS. What failed changed nothing, except for deployments and syncs, which may stop half-way;
their beginning counts too, since trouble may come before they say that they are done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from engine.ids import content_id
from engine.inventory import Inventory
from engine.types import Change

WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet")
_MAX_SUMMARY_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Told:
    """A kind of change and the events that tell of it.

    reason     what the reason is, whole
    message    how the message begins or what it holds, where the reason alone does not tell
    summary    what is said of it: `{name}` of the entity, `{reason}`, `{message}` (the reason where there is none), and
               the parts that `message` found
    normal     whether a Warning with that reason is none: what was refused or failed
    unseen     whether it is none where the workload's own objects are seen, which tell more
    """

    kind: str
    reason: re.Pattern[str]
    summary: str
    message: re.Pattern[str] | None = None
    normal: bool = False
    unseen: bool = False


_AWS: Final = re.compile(r"[a-z0-9.\-]+\.amazonaws\.com: ")
# calls that write and yet change nothing that anybody depends on: agents and services that keep their own books
_AWS_BOOKKEEPING: Final = (
    r"CreateLogStream|CreateLogGroup|CreateNetworkInterface|CreateGrant|CreateServiceLinkedRole|UpdateInstance(?:Information|"
    r"AssociationStatus)|PutInventory|PutComplianceItems|Create(?:Data|Control)Channel|StartQuery\w*|StartSession|"
    r"PutMetricData|PutEvaluations|CreateTags|DeleteTags|AddTags\w*|RegisterContainerInstance"
)
_AWS_WRITES: Final = (
    "Add|Apply|Associate|Attach|Authorize|Cancel|Change|Copy|Create|Delete|Deregister|Detach|Disable|Disassociate|Enable|"
    "Execute|Failover|Import|Modify|Promote|Purge|Put|Reboot|Register|Remove|Replace|Reset|Restart|Restore|Revoke|Rotate|Run|"
    "Scale|Schedule|Set|Start|Stop|Switchover|Terminate|Update|Upgrade"
)
_TOLD: Final = (
    Told(
        "node",
        re.compile(
            "NodeNotReady|NodeNotSchedulable|NodeHasDiskPressure|NodeHasInsufficientMemory|NodeHasInsufficientPID|Rebooted"
        ),
        "{name}: {reason}",
    ),
    Told("scale", re.compile("SuccessfulRescale"), "{name}: {message}"),
    Told(
        "deployment",
        re.compile("ScalingReplicaSet"),
        "{name}: rollout of replica set {0}",
        re.compile(r".*Scaled up replica set (\S+) from 0 to \d+", re.DOTALL),
        unseen=True,
    ),
    Told("deployment", re.compile("Deployed|DeployStarted|DeployFailed|DeployCanceled"), "{name}: {message}"),
    Told("deployment", re.compile("SyncSucceeded|SyncRunning|SyncFailed"), "{name}: {message}"),
    Told("config", re.compile("ApplyComplete|ProvisionErrored"), "{name}: {message}"),
    Told(
        "deployment",
        re.compile(
            r"(?:Create|Update|Delete)(?:Service|Stack|StackSet|Deployment|TaskSet|Alias[\dv]*|Function\w*)"
            r"|PublishVersion[\dv]*|RegisterTaskDefinition|ExecuteChangeSet|StartDeployment|UpdateClusterVersion"
            r"|Update(?:Nodegroup|Addon)\w*"
        ),
        "{name}: {message}",
        _AWS,
        normal=True,
    ),
    Told(
        "scale",
        re.compile(
            r"SetDesiredCapacity|UpdateAutoScalingGroup|PutScalingPolicy|RegisterScalableTarget|(?:R|Der)egister\w*Targets"
            r"|\w+InstancesInAutoScalingGroup|TerminateInstanceInAutoScalingGroup|UpdateShardCount"
        ),
        "{name}: {message}",
        _AWS,
        normal=True,
    ),
    Told("node", re.compile("(?:Reboot|Start|Stop|Terminate|Run)Instances"), "{name}: {message}", _AWS, normal=True),
    Told(
        "config",
        re.compile(rf"(?!(?:{_AWS_BOOKKEEPING})$)(?:{_AWS_WRITES})[A-Z]\w*"),
        "{name}: {message}",
        _AWS,
        normal=True,
    ),
)


def of_event(row: dict[str, Any], inventory: Inventory) -> Iterator[Change]:
    """Yield the change that an event tells of, if it does."""
    for told in _TOLD:
        found = _parts(told, row, inventory)
        if found is not None:
            name = row["entity"].rpartition("/")[2]
            message = row["message"] or row["reason"]
            summary = told.summary.format(*found, name=name, reason=row["reason"], message=message)[:_MAX_SUMMARY_CHARS]
            entity, ts_ms = row["entity"], int(row["ts_ms"])
            yield Change(content_id("chg", entity, ts_ms, told.kind, summary), entity, ts_ms, told.kind, summary)
            return


def _parts(told: Told, row: dict[str, Any], inventory: Inventory) -> tuple[str, ...] | None:
    """Return what the message's pattern found in an event that tells of this, None for one that does not."""
    if not told.reason.fullmatch(row["reason"]) or (told.normal and row["type"] == "Warning"):
        return None
    match = told.message.match(row["message"] or "") if told.message else None
    if told.message and match is None:
        return None
    if told.unseen and any(key[1] in WORKLOADS for key in inventory.of_entity(row["entity"])):
        return None
    return tuple(match.groups()) if match else ()

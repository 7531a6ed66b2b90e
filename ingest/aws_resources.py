"""Finds the AWS resources that parameters of a call, or attributes of a configuration, are about: as ARNs.

Which entity an ARN stands for is for `ingest.identity` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

# Resource as an ARN writes it, by the name of a parameter without case and underscores: of any call ...
_ANYWHERE: Final[Mapping[str, str]] = {
    "instanceid": "ec2:instance/",
    "dbinstanceidentifier": "rds:db:",
    "dbclusteridentifier": "rds:cluster:",
    "clusteridentifier": "rds:cluster:",
    "replicationgroupid": "elasticache:replicationgroup:",
    "cacheclusterid": "elasticache:cluster:",
    "functionname": "lambda:function:",
    "autoscalinggroupname": "autoscaling:autoScalingGroup:-:autoScalingGroupName/",
    "tablename": "dynamodb:table/",
    "bucketname": "s3:",
    "streamname": "kinesis:stream/",
    "stackname": "cloudformation:stack/",
    "domainname": "es:domain/",
}
# ... and of calls to one service, which speak first
_BY_SERVICE: Final[Mapping[str, Mapping[str, str]]] = {
    "ecs": {"service": "service/", "servicename": "service/", "cluster": "cluster/", "family": "task-definition/"},
    "eks": {"name": "cluster/", "clustername": "cluster/"},
    "redshift": {"clusteridentifier": "cluster:"},
    "s3": {"bucket": ""},
    "elasticloadbalancing": {"loadbalancername": "loadbalancer/"},
    "codebuild": {"projectname": "project/"},
}


def arns_of(said: Any, service: str, region: str, account: str) -> Iterator[str]:
    """Yield ARNs that stand in the values of `said`, then those made of parameters that name a resource.

    What is no mapping names nothing. `service` is the one that was called (`ec2`).
    """
    if not isinstance(said, Mapping):
        return
    yield from _stated(said)
    begin = f"{region}:{account}:"
    flat = {key.lower().replace("_", ""): value for key, value in _flat(said)}
    queue = flat.get("queueurl", "").rstrip("/").rpartition("/")[2]
    if queue:
        yield arn_of("sqs:", begin, queue)
    for key, resource in _BY_SERVICE.get(service, {}).items():
        if flat.get(key):
            yield arn_of(f"{service}:{resource}", begin, flat[key])
    for key, resource in _ANYWHERE.items():
        if flat.get(key):
            yield arn_of(resource, begin, flat[key])


def arn_of(resource: str, begin: str, name: str) -> str:
    """Return the ARN of `service:type/` in `region:account:` with that name; the name itself where it is an ARN.

    >>> arn_of("rds:db:", "eu-west-1:123456789012:", "orders")
    'arn:aws:rds:eu-west-1:123456789012:db:orders'
    """
    service, _, kind = resource.partition(":")
    return name if name.startswith("arn:") else f"arn:aws:{service}:{begin}{kind}{name}"


def _stated(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield values that are ARNs, and of objects within, as `service: {serviceArn}` of an answer."""
    for value in said.values():
        if isinstance(value, str) and value.startswith("arn:"):
            yield value
        elif isinstance(value, Mapping):
            yield from (one for one in value.values() if isinstance(one, str) and one.startswith("arn:"))


def _flat(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the texts of parameters, and the first of a list as `instancesSet: {items: [{instanceId}]}` of EC2."""
    yield from ((str(key), value) for key, value in said.items() if isinstance(value, str) and value)
    items = said.get("instancesSet")
    items = items.get("items") if isinstance(items, Mapping) else None
    first = items[0] if isinstance(items, list) and items else None
    if isinstance(first, Mapping) and isinstance(first.get("instanceId"), str):
        yield "instanceId", first["instanceId"]

"""What the cost formats share: whom tags name, days, and sums that do not depend on an order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from ingest.identity import UNATTRIBUTED, Identity

DAY_MS: Final = 86_400_000
HIGHEST_USD: Final = 1e15  # beyond it an amount is no money, and a sum of some could leave the range of doubles

_KEYS: Final = ("at", "entity", "period_start_ms", "period_end_ms")
_EKS: Final = "aws:eks:"
_EKS_WORKLOADS: Final = {"Deployment": "deployment", "StatefulSet": "statefulset", "DaemonSet": "daemonset"}


def entity_of(identity: Identity, tags: Mapping[str, str], account: Sequence[str], arn: str = "") -> str:
    """Return whose a cost is: a database or queue by its ARN, else what tags name, else the ARN, else the account.

    A database is known by its name in audit records too, whichever application its tags name; of anything else, tags
    say more, a namespace above all. `account` are the parts of the account's name.
    """
    resource = identity.of_arn(arn) if arn.startswith("arn:") else ""
    if _kind_of(resource) in ("database", "queue"):
        return resource
    named = identity.of_labels(labels_of(tags)) if tags else UNATTRIBUTED
    if named.rpartition("/")[2] != UNATTRIBUTED:
        return named
    if _kind_of(resource) not in ("", "account"):
        return resource
    return identity.account("+".join(one for one in account if one) or "total")


def labels_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as the labels they are called after, without what the cloud's provider puts before or in them.

    >>> labels_of({"user:App": "store", "aws:eks:namespace": "shop"})
    {'app': 'store', 'namespace': 'shop'}
    """
    labels: dict[str, str] = {}
    for key in sorted(tags):
        if tags[key]:
            labels.setdefault(key.removeprefix("user:").removeprefix(_EKS).lower(), tags[key])
    workload = tags.get(_EKS + "workload-name")
    if workload:
        labels.setdefault(_EKS_WORKLOADS.get(tags.get(_EKS + "workload-type", ""), "deployment"), workload)
    return labels


def _kind_of(entity: str) -> str:
    return entity.split("/")[1] if entity else ""


def summed(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row a message, entity and period, in that order; `rows` have the columns of costs, and `at`.

    A period is told once: what comes later about it is a revision, so whatever one message says of it is added up.
    Sums are rounded once (`math.fsum`), so they do not depend on the order of lines.
    """
    groups = rows.sort(_KEYS, maintain_order=True).group_by(_KEYS, maintain_order=True)
    frame = groups.agg("amount_usd", pl.col("ts_ms").first(), pl.col("estimated").any())
    totals = [math.fsum(amounts) for amounts in frame["amount_usd"].to_list()]
    return frame.with_columns(amount_usd=pl.Series(totals, dtype=pl.Float64))


def no_amount() -> pl.Expr:
    """Return which rows hold no amount of money."""
    return ~(pl.col("amount_usd").is_finite() & (pl.col("amount_usd").abs() < HIGHEST_USD))


def day_of(ms: pl.Expr) -> pl.Expr:
    """Return the start of the (UTC) day of a time."""
    return ms // DAY_MS * DAY_MS

"""Splits wide column names into entity and indicator: `cart_cpu`, `ts-auth-service_latency-50`, `a_client_p99_ms`.

Both halves may hold underscores, so the split is decided by all columns together: a name from the graph wins, then an
indicator whose first word is a known one, and among those the ending that most entities share.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_WORDS = """
    cpu mem memory heap latency lat rt response duration error errors err fail failure failures request requests req
    rate count load workload throughput qps rps disk diskio io fs net network socket sockets receive transmit rx tx
    availability saturation queue gc threads pods restarts restart container node istio http grpc success timeout
    timeouts usage util utilization p50 p90 p95 p99 span log event cost
"""
_KNOWN = re.compile(rf"^({'|'.join(_WORDS.split())})([^a-z]|$)", re.IGNORECASE)

Split = tuple[str, str]


def split_columns(columns: Iterable[str], entities: Collection[str] = ()) -> dict[str, Split]:
    """Return (entity, indicator) of every column that has both; a column without an underscore has neither.

    `entities` are names known from elsewhere (a graph): the longest that begins a column is its entity.

    >>> split_columns(["cart_cpu", "cart_latency_p99", "load-gen_client_cpu", "time"])["load-gen_client_cpu"]
    ('load-gen_client', 'cpu')
    """
    names = sorted(set(columns))
    known = set(entities)
    options = {name: _splits(name) for name in names}
    owners: dict[str, set[str]] = {}
    for splits in options.values():
        for entity, indicator in splits:
            owners.setdefault(indicator, set()).add(entity)
    found = {}
    for name in names:
        named = [one for one in options[name] if one[0] in known]
        if named:
            found[name] = max(named, key=lambda one: len(one[0]))
        elif options[name]:
            found[name] = max(options[name], key=lambda one: _merit(one, owners))
    return found


def _splits(name: str) -> list[Split]:
    places = [place for place, letter in enumerate(name) if letter == "_" and 0 < place < len(name) - 1]
    return [(name[:place], name[place + 1 :]) for place in places]


def _merit(split: Split, owners: dict[str, set[str]]) -> tuple[bool, int, int]:
    """Return how good a split is: a known word, then how many entities share the ending, then the longest indicator.

    Among endings that are not known words the shortest indicator wins: what follows the last underscore.
    """
    entity, indicator = split
    known = _KNOWN.match(indicator) is not None
    return known, len(owners[indicator]), len(indicator) if known else len(entity)

"""`opsbrain bench`: scores against public data. Benchmarks are found by entry points, so nothing here imports them.

An entry point of the group `opsbrain.benchmarks` is a function `run(data: Path | None) -> dict`, which returns
`{"name", "version", "data", "metrics": {...}, "cases": [...]}` and raises SourceError when it finds no data.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from engine.errors import SourceError
from opsbrain.output import print_table

GROUP: Final = "opsbrain.benchmarks"


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which benchmark, as nezha.")],
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder of the data set.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON.")] = None,
) -> None:
    """Run a benchmark and show its metrics."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as ctrl-c: brokers and folders are cleaned up
    result = _load(name)(data)
    if json is not None:
        _write(json, result)
    print_table(("metric", "value"), [(key, _shown(value)) for key, value in _flat(result.get("metrics", {}), "")])


def _load(name: str) -> Any:
    known: dict[str, EntryPoint] = {one.name: one for one in entry_points(group=GROUP)}
    if name not in known:
        raise typer.BadParameter(f"no benchmark {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    try:
        return known[name].load()
    except (ImportError, AttributeError) as error:
        raise SourceError(f"bench {name}: cannot be loaded: {error}") from error


def _write(path: Path, result: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result, order="deterministic"), indent=2) + b"\n")
    except OSError as error:
        raise SourceError(f"{path}: cannot write: {error.strerror}") from error


def _flat(metrics: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""Writes files of the exact schema of published traces: `python -m benchmarks.generate_traces FORMAT FOLDER --rows N`.

The real traces are hundreds of gigabytes elsewhere; these files have their columns, their encodings, their order (not
that of time), special times and repeats, so loaders can be tried and measured at any size. What is in them is made of
a seed: daily waves, noise, and a burst of failures two thirds into the trace. Nothing about a real cluster is claimed.
"""

from __future__ import annotations

import gzip
import io
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray

from ingest import borg_2011, borg_2019

Form = Literal["json", "csv", "parquet"]
_MAX_INT: Final = 2**63 - 1
_SHARD_ROWS: Final = 200_000
_STEP_US: Final = 300_000_000
_BORG_FROM_US: Final = 600_000_000


def main(
    format: Annotated[str, typer.Argument(help="Name of the trace's format.")],
    folder: Annotated[Path, typer.Argument(help="Where to write.")],
    rows: Annotated[int, typer.Option(help="Rows of the largest table, about.")] = 10_000,
    instances: Annotated[int, typer.Option(help="Instances (containers, pods) in it.")] = 200,
    form: Annotated[str, typer.Option(help="json, csv or parquet (borg-2019).")] = "json",
    packed: Annotated[bool, typer.Option(help="Gzip the files.")] = True,
    seed: Annotated[int, typer.Option(help="What everything is made of.")] = 0,
) -> None:
    """Write one trace."""
    generate(format, folder, rows=rows, instances=instances, form=form, packed=packed, seed=seed)


def generate(
    format: str,
    folder: Path,
    *,
    rows: int = 2_000,
    instances: int = 40,
    form: str = "json",
    packed: bool = True,
    seed: int = 0,
) -> Path:
    """Write a trace of `format` into `folder` and return it. The same arguments give the same bytes of content."""
    folder.mkdir(parents=True, exist_ok=True)
    GENERATORS[format](Maker(folder, rows, instances, form, packed, np.random.default_rng(seed)))
    return folder


class Maker:
    """Where to write, how much, and the one source of chance."""

    def __init__(
        self, folder: Path, rows: int, instances: int, form: str, packed: bool, chance: np.random.Generator
    ) -> None:
        self.folder, self.rows, self.instances = folder, rows, max(2, instances)
        self.form, self.packed, self.chance = form, packed, chance

    @property
    def steps(self) -> int:
        """Return over how many steps the rows spread."""
        return max(4, self.rows // self.instances)

    def ids(self, count: int) -> NDArray[np.int64]:
        """Return ids as the Borg traces have them."""
        return np.sort(self.chance.choice(10**9, count, replace=False)) + 330_000_000_000

    def wave(self, step: NDArray[np.int64], a_day: int) -> NDArray[np.float64]:
        """Return a daily wave around 1, of the given steps, with noise."""
        return 1 + 0.4 * np.sin(2 * np.pi * step / a_day) + self.chance.normal(0, 0.05, len(step))

    def shuffled(self, frame: pl.DataFrame, repeats: int = 2) -> pl.DataFrame:
        """Return the rows in the order of no time, some of them twice."""
        twice = pl.concat([frame, frame.head(min(repeats, frame.height))])
        return twice[self.chance.permutation(twice.height)]


def shares(chance: np.random.Generator, total: int, parts: int) -> NDArray[np.int64]:
    """Return for each of `total` things which of `parts` groups it is in; group sizes are skewed, as jobs' are."""
    weights = 1 / np.arange(1, parts + 1)
    return np.sort(chance.choice(parts, total, p=weights / weights.sum()))


def borg_2019_trace(make: Maker) -> None:
    """Write one cell: five tables."""
    jobs = max(2, make.instances // 20)
    ids, machines = make.ids(jobs), make.ids(max(2, make.instances // 10))
    job = shares(make.chance, make.instances, jobs)
    index = np.arange(make.instances) - np.searchsorted(job, job)
    machine = make.chance.choice(machines, make.instances)
    level = make.chance.gamma(2.0, 0.01, make.instances)
    for number, steps in enumerate(_shards(make)):
        part = _usage_2019(make, steps, ids[job], index, machine, level)
        _write_borg(make, "instance_usage", number, make.shuffled(part))
    _write_borg(make, "collection_events", 0, make.shuffled(_collection_events(make, ids)))
    _write_borg(make, "instance_events", 0, make.shuffled(_instance_events(make, ids[job], index, machine)))
    _write_borg(make, "machine_events", 0, make.shuffled(_machine_events(make, machines)))
    _write_borg(make, "machine_attributes", 0, make.shuffled(_machine_attributes(make, machines)))


def _shards(make: Maker) -> Iterator[NDArray[np.int64]]:
    """Yield the steps of each file. Each file has steps of all times, as the published ones have."""
    count = max(2, -(-make.steps * make.instances // _SHARD_ROWS))
    yield from (np.arange(number, make.steps, count) for number in range(count))


def _usage_2019(
    make: Maker,
    steps: NDArray[np.int64],
    collection: NDArray[np.int64],
    index: NDArray[np.int64],
    machine: NDArray[np.int64],
    level: NDArray[np.float64],
) -> pl.DataFrame:
    step = np.repeat(steps, len(collection))
    again = len(steps)
    cpus = np.maximum(np.tile(level, again) * make.wave(step, 288), 0)
    memory = np.tile(level, again) * (1 + make.chance.normal(0, 0.01, len(step)))
    begin = _BORG_FROM_US + step * _STEP_US
    spread = np.round(np.outer(cpus, np.linspace(0.5, 1.5, 11)), 9)
    tail = np.round(np.outer(cpus, np.linspace(1.41, 1.49, 9)), 9)
    return pl.DataFrame(
        {
            "start_time": begin,
            "end_time": begin + _STEP_US,
            "collection_id": np.tile(collection, again),
            "instance_index": np.tile(index, again),
            "machine_id": np.tile(machine, again),
            "alloc_collection_id": np.zeros(len(step), np.int64),
            "alloc_instance_index": np.full(len(step), -1),
            "collection_type": np.zeros(len(step), np.int64),
            "average_usage.cpus": np.round(cpus, 9),
            "average_usage.memory": np.round(memory, 9),
            "maximum_usage.cpus": np.round(cpus * 1.5, 9),
            "maximum_usage.memory": np.round(memory * 1.1, 9),
            "random_sample_usage.cpus": np.round(cpus * 1.02, 9),
            "assigned_memory": np.round(memory * 1.3, 9),
            "page_cache_memory": np.round(memory * 0.1, 9),
            "cycles_per_instruction": np.round(1 + cpus, 6),
            "memory_accesses_per_instruction": np.round(0.01 + cpus / 10, 6),
            "sample_rate": np.full(len(step), 1.0),
            "cpu_usage_distribution": spread,
            "tail_cpu_usage_distribution": tail,
        },
        schema_overrides={
            "cpu_usage_distribution": pl.Array(pl.Float64, 11),
            "tail_cpu_usage_distribution": pl.Array(pl.Float64, 9),
        },
    ).cast({"cpu_usage_distribution": pl.List(pl.Float64), "tail_cpu_usage_distribution": pl.List(pl.Float64)})


def _times(make: Maker, count: int) -> NDArray[np.int64]:
    """Return event times over the trace, a third of them in one burst; the first is before, the last after it."""
    length = make.steps * _STEP_US
    times = _BORG_FROM_US + make.chance.integers(0, length, count)
    times[::3] = _BORG_FROM_US + int(length * 2 / 3) + make.chance.integers(0, _STEP_US, len(times[::3]))
    times[0], times[-1] = 0, _MAX_INT
    return times


def _logical(ids: NDArray[np.int64]) -> list[str]:
    """Return obfuscated logical names, one for two jobs each."""
    return [b64encode(sha256(str(number // 2).encode()).digest()).decode() for number in range(len(ids))]


def _collection_events(make: Maker, ids: NDArray[np.int64]) -> pl.DataFrame:
    count = len(ids) * 4
    which = np.tile(np.arange(len(ids)), 4)
    return pl.DataFrame(
        {
            "time": _times(make, count),
            "type": np.repeat([0, 3, 10, 6], len(ids)),
            "collection_id": ids[which],
            "scheduling_class": np.ones(count, np.int64),
            "missing_type": np.zeros(count, np.int64),
            "collection_type": np.zeros(count, np.int64),
            "priority": make.chance.choice([0, 103, 200], count),
            "alloc_collection_id": np.zeros(count, np.int64),
            "user": ["Ln3yJ8qvB0m1sVxR/7aP+dGkzHcWtFeQjUoNiXlSbYM="] * count,
            "collection_name": [f"{name}-run" for name in np.array(_logical(ids))[which]],
            "collection_logical_name": np.array(_logical(ids))[which],
            "vertical_scaling": np.ones(count, np.int64),
            "scheduler": np.zeros(count, np.int64),
        }
    )


def _instance_events(
    make: Maker, collection: NDArray[np.int64], index: NDArray[np.int64], machine: NDArray[np.int64]
) -> pl.DataFrame:
    count = max(20, make.instances)
    which = make.chance.integers(0, make.instances, count)
    return pl.DataFrame(
        {
            "time": _times(make, count),
            "type": make.chance.integers(0, 11, count),
            "collection_id": collection[which],
            "scheduling_class": np.ones(count, np.int64),
            "missing_type": np.zeros(count, np.int64),
            "collection_type": np.zeros(count, np.int64),
            "priority": np.full(count, 200),
            "alloc_collection_id": np.zeros(count, np.int64),
            "instance_index": index[which],
            "machine_id": machine[which],
            "alloc_instance_index": np.full(count, -1),
            "resource_request.cpus": np.full(count, 0.02),
            "resource_request.memory": np.full(count, 0.01),
        }
    )


def _machine_events(make: Maker, machines: NDArray[np.int64]) -> pl.DataFrame:
    count = len(machines) * 2
    return pl.DataFrame(
        {
            "time": _times(make, count),
            "machine_id": np.tile(machines, 2),
            "type": np.tile([1, 2, 3], count)[:count],
            "switch_id": ["WJdVYYfXmVQ0nEh7pYJH0nEh7pYJHWJdVYYfXmVQ0nE="] * count,
            "capacity.cpus": np.full(count, 0.59),
            "capacity.memory": np.full(count, 0.33),
            "platform_id": ["HofLGzk1Or/8Ildj2+Lqv0UGGvY82NLoni8+J/Yy0RU="] * count,
            "missing_data_reason": np.zeros(count, np.int64),
        }
    )


def _machine_attributes(make: Maker, machines: NDArray[np.int64]) -> pl.DataFrame:
    deleted = np.arange(len(machines)) % 3 == 2
    return pl.DataFrame(
        {
            "time": _times(make, len(machines)),
            "machine_id": machines,
            "name": ["5d4OEmnNaRA3IiR5v7l6FJuvS6qs9PQvMqkbXAaR8gQ="] * len(machines),
            "value": ["" if gone else "2" for gone in deleted],
            "deleted": deleted,
        }
    )


def _write_borg(make: Maker, table: str, number: int, flat: pl.DataFrame) -> None:
    """Write one shard as BigQuery exports it: whole numbers as text and nested records in JSON."""
    name = f"{table}-{number:012d}"
    if make.form == "csv":
        lists = [one for one, dtype in flat.schema.items() if dtype == pl.List(pl.Float64)]
        text = flat.drop(lists).write_csv()
        _write(make, f"{name}.csv", text.encode())
        return
    nested = _nested(flat)
    if make.form == "parquet":
        nested.write_parquet(make.folder / f"{name}.parquet")
        return
    numbers = [one for one, dtype in nested.schema.items() if dtype.is_integer() and one != "type"]
    content = io.BytesIO()
    nested.with_columns(pl.col(numbers).cast(pl.String)).write_ndjson(content)
    _write(make, f"{name}.json", content.getvalue())


def _nested(flat: pl.DataFrame) -> pl.DataFrame:
    groups: dict[str, list[str]] = {}
    for name in flat.columns:
        groups.setdefault(name.partition(".")[0], []).append(name)
    return flat.select(
        pl.struct(pl.col(name).alias(name.partition(".")[2]) for name in names).alias(top)
        if names != [top]
        else pl.col(top)
        for top, names in groups.items()
    )


def _write(make: Maker, name: str, content: bytes) -> None:
    path = make.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if make.packed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content, 1, mtime=0))
    else:
        path.write_bytes(content)


def _headerless(make: Maker, name: str, frame: pl.DataFrame, columns: Sequence[str]) -> None:
    """Write a CSV without a header, in the publisher's order; columns that were not made are empty."""
    full = frame.with_columns(pl.lit(None).alias(one) for one in columns if one not in frame.columns)
    _write(make, name, full.select(columns).write_csv(include_header=False).encode())


def borg_2011_trace(make: Maker) -> None:
    """Write five tables in numbered parts."""
    jobs = max(2, make.instances // 20)
    ids, machines = make.ids(jobs), make.ids(max(2, make.instances // 10))
    job = shares(make.chance, make.instances, jobs)
    index = np.arange(make.instances) - np.searchsorted(job, job)
    level = make.chance.gamma(2.0, 0.01, make.instances)
    shards = list(_shards(make))
    tables = borg_2011.Borg2011.tables
    for number, steps in enumerate(shards):
        step = np.repeat(steps, make.instances)
        rate = np.maximum(np.tile(level, len(steps)) * make.wave(step, 288), 0)
        part = pl.DataFrame(
            {
                "start_time": _BORG_FROM_US + step * _STEP_US,
                "end_time": _BORG_FROM_US + (step + 1) * _STEP_US,
                "job_id": np.tile(ids[job], len(steps)),
                "task_index": np.tile(index, len(steps)),
                "machine_id": np.tile(make.chance.choice(machines, make.instances), len(steps)),
                **{name: np.round(rate * (at + 1), 9) for at, name in enumerate(borg_2011.INDICATORS)},
                "sample_portion": np.ones(len(step), np.int64),
                "aggregation_type": np.zeros(len(step), np.int64),
            }
        ).with_columns(disk_io_time=pl.lit(None))  # the second half of the trace has none
        name = f"task_usage/part-{number:05d}-of-{len(shards):05d}.csv"
        _headerless(make, name, make.shuffled(part), tables["task_usage"].order)
    for table, frame in _borg_2011_events(make, ids, job, index, machines).items():
        _headerless(make, f"{table}/part-00000-of-00001.csv", make.shuffled(frame), tables[table].order)


def _borg_2011_events(
    make: Maker,
    ids: NDArray[np.int64],
    job: NDArray[np.int64],
    index: NDArray[np.int64],
    machines: NDArray[np.int64],
) -> Mapping[str, pl.DataFrame]:
    tasks = _instance_events(make, ids[job], index, make.chance.choice(machines, make.instances))
    jobs, nodes = _collection_events(make, ids), _machine_events(make, machines)
    return {
        "task_events": tasks.rename({"collection_id": "job_id", "instance_index": "task_index"}).with_columns(
            pl.col("type") % 9
        ),
        "job_events": jobs.rename({"collection_id": "job_id", "collection_logical_name": "logical_job_name"}).select(
            "time", "job_id", pl.col("type") % 9, "user", "logical_job_name"
        ),
        "machine_events": nodes.rename({"capacity.cpus": "cpus", "capacity.memory": "memory"}).with_columns(
            pl.col("type") - 1
        ),
        "machine_attributes": _machine_attributes(make, machines).with_columns(pl.col("deleted").cast(pl.Int64)),
    }


GENERATORS: Final[Mapping[str, Callable[[Maker], None]]] = {
    borg_2019.SCOPE: borg_2019_trace,
    borg_2011.SCOPE: borg_2011_trace,
}

if __name__ == "__main__":
    typer.run(main)

"""Writes files of the exact schema of published traces: `python -m benchmarks.generate_traces FORMAT FOLDER --rows N`.

The real traces are hundreds of gigabytes elsewhere; these files have their columns, their encodings, their order (not
that of time), special times and repeats, so loaders can be tried and measured at any size. What is in them is made of
a seed: daily waves, noise, and a burst of failures two thirds into the trace. Nothing about a real cluster is claimed.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray

from ingest import alibaba_2018, alibaba_gpu_2023, borg_2011, borg_2019
from ingest.alibaba_microservices import RATES

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
    _check("format", format, GENERATORS)
    _check("--form", form, get_args(Form))
    generate(format, folder, rows=rows, instances=instances, form=form, packed=packed, seed=seed)


def _check(what: str, given: str, known: Collection[str]) -> None:
    """End with one line and exit status 2 when what is asked for is not known."""
    if given not in known:
        typer.echo(f"generate_traces: no {what} {given!r}; there are: {', '.join(known)}", err=True)
        raise typer.Exit(2)


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
    ids, machines = make.ids(jobs), make.ids(max(6, make.instances // 10))
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


def _write(make: Maker, name: str, content: bytes, archive: bool = False) -> None:
    path = make.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if archive:
        info = tarfile.TarInfo(path.name)
        info.size = len(content)
        with tarfile.open(path.with_suffix(".tar.gz"), "w:gz", compresslevel=1) as tar:
            tar.addfile(info, io.BytesIO(content))
    elif make.packed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content, 1, mtime=0))
    else:
        path.write_bytes(content)


def _headerless(make: Maker, name: str, frame: pl.DataFrame, columns: Sequence[str], archive: bool = False) -> None:
    """Write a CSV without a header, in the publisher's order; columns that were not made are empty."""
    full = frame.with_columns(pl.lit(None).alias(one) for one in columns if one not in frame.columns)
    _write(make, name, full.select(columns).write_csv(include_header=False).encode(), archive)


def borg_2011_trace(make: Maker) -> None:
    """Write five tables in numbered parts."""
    jobs = max(2, make.instances // 20)
    ids, machines = make.ids(jobs), make.ids(max(6, make.instances // 10))
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


def alibaba_2018_trace(make: Maker) -> None:
    """Write six tables; the usage of machines in a tar archive, as it is published."""
    groups, machines = max(2, make.instances // 10), max(2, make.instances // 5)
    group = shares(make.chance, make.instances, groups)
    container = np.array([f"c_{number}" for number in range(1, make.instances + 1)])
    machine = np.array([f"m_{number}" for number in range(1, machines + 1)])
    host = make.chance.choice(machine, make.instances)
    tables = alibaba_2018.Alibaba2018.tables
    frames = {
        "machine_meta": _states_2018(make, "machine_id", machine, ["USING", "ADD", "OFFLINE"]),
        "machine_usage": _usage_2018(make, "machine_id", machine, alibaba_2018.MACHINE_INDICATORS),
        "container_meta": _states_2018(make, "container_id", container, ["started", "allocated", "stopped"]).join(
            pl.DataFrame({"container_id": container, "app_du": [f"app_{one}" for one in group]}), on="container_id"
        ),
        "container_usage": _usage_2018(make, "container_id", container, alibaba_2018.CONTAINER_INDICATORS).join(
            pl.DataFrame({"container_id": container, "machine_id": host}), on="container_id"
        ),
        **_batch_2018(make, machine),
    }
    for table, frame in frames.items():
        _headerless(make, f"{table}.csv", make.shuffled(frame), tables[table].order, archive=table == "machine_usage")


def _usage_2018(make: Maker, id: str, ids: NDArray[np.str_], indicators: Sequence[str]) -> pl.DataFrame:
    step = np.repeat(np.arange(make.steps), len(ids))
    level = np.tile(make.chance.uniform(5, 40, len(ids)), make.steps) * make.wave(step, 8640)
    values = {one: np.round(np.clip(level + number, 0, 100), 2) for number, one in enumerate(indicators)}
    values["disk_io_percent"][::17] = 101  # how the publisher says "invalid"
    return pl.DataFrame({id: np.tile(ids, make.steps), "time_stamp": step * 10, **values})


def _states_2018(make: Maker, id: str, ids: NDArray[np.str_], states: Sequence[str]) -> pl.DataFrame:
    """Return the state of each at the beginning, and one change later."""
    later = make.chance.integers(1, make.steps * 10, len(ids))
    return pl.DataFrame(
        {
            id: np.tile(ids, 2),
            "time_stamp": np.concatenate([np.zeros(len(ids), np.int64), later]),
            "status": [states[0]] * len(ids) + make.chance.choice(states, len(ids)).tolist(),
        }
    )


def _batch_2018(make: Maker, machine: NDArray[np.str_]) -> Mapping[str, pl.DataFrame]:
    count = max(20, make.instances)
    begin = make.chance.integers(1, make.steps * 10, count)
    status = make.chance.choice(["Terminated", "Failed", "Interrupted", "Running"], count, p=[0.8, 0.1, 0.05, 0.05])
    tasks = pl.DataFrame(
        {
            "task_name": [f"M{1 + number % 3}" for number in range(count)],
            "instance_num": make.chance.integers(1, 5, count),
            "job_name": [f"j_{number // 3}" for number in range(count)],
            "task_type": make.chance.integers(1, 13, count).astype(str),
            "status": status,
            "start_time": begin,
            "end_time": np.where(status == "Running", 0, begin + make.chance.integers(1, 300, count)),
            "plan_cpu": np.full(count, 100.0),
            "plan_mem": np.full(count, 0.5),
        }
    )
    instances = tasks.with_columns(
        instance_name=pl.concat_str(pl.lit("ins_"), pl.int_range(pl.len())),
        machine_id=pl.Series(make.chance.choice(machine, count)),
        seq_no=pl.lit(1),
        total_seq_no=pl.lit(1),
        **{name: pl.Series(np.round(make.chance.gamma(2, 20, count), 2)) for name in alibaba_2018.BATCH_INDICATORS[:4]},
    )
    return {"batch_task": tasks, "batch_instance": instances}


def microservices_2021_trace(make: Maker) -> None:
    """Write four tables, in archives, with the nameless first column that the published files have."""
    _microservices(make, 2021)


def microservices_2022_trace(make: Maker) -> None:
    """Write four tables, gzipped."""
    _microservices(make, 2022)


def _microservices(make: Maker, year: int) -> None:
    services = max(3, make.instances // 5)
    hashed = year == 2021
    ms = np.array([_ms(number, hashed) for number in range(services)])
    service = shares(make.chance, make.instances, services)
    pods = np.array([_pod(name, number, hashed) for number, name in enumerate(ms[service])])
    nodes = np.array([f"NODE_{number}" for number in range(max(2, make.instances // 10))])
    steps = max(2, make.steps // 4)
    step = np.repeat(np.arange(steps), make.instances)
    base = pl.DataFrame(
        {"timestamp": step * 60_000, "msname": np.tile(ms[service], steps), "msinstanceid": np.tile(pods, steps)}
    )
    used = pl.DataFrame({name: np.round(0.3 * make.wave(step, 1440), 9) for name in ("cpu", "memory")})
    kind = "instance_{}_usage" if hashed else "{}_utilization"
    named = used.rename({name: kind.format(name) for name in used.columns})
    resources = pl.concat([base, named], how="horizontal").with_columns(
        nodeid=pl.Series(np.tile(make.chance.choice(nodes, make.instances), steps))
    )
    machines = pl.DataFrame(
        {"timestamp": np.repeat(np.arange(steps), len(nodes)) * 60_000, "nodeid": np.tile(nodes, steps)}
    )
    machines = machines.with_columns(
        pl.Series(("node_{}_usage" if hashed else kind).format(name), make.chance.uniform(0, 1, machines.height))
        for name in ("cpu", "memory")
    )
    rates = _rates_2021(make, base) if hashed else _rates_2022(make, base)
    calls = _calls(make, ms, hashed)
    tables = {
        "MSResource": resources,
        "Node": machines,
        "MSRTQps" if hashed else "MSRTMCR": rates,
        "MSCallGraph": calls,
    }
    for table, frame in tables.items():
        _with_header(make, f"{table}/{table}_0.csv", make.shuffled(frame), archive=hashed)


def _ms(number: int, hashed: bool) -> str:
    return sha256(f"ms{number}".encode()).hexdigest() if hashed else f"MS_{number}"


def _pod(name: str, number: int, hashed: bool) -> str:
    return sha256(f"{name}/{number}".encode()).hexdigest() if hashed else f"{name}_POD_{number}"


def _rates_2021(make: Maker, base: pl.DataFrame) -> pl.DataFrame:
    parts = [
        base.with_columns(
            metric=pl.lit(f"{way}_{what}"), value=pl.Series(np.round(make.chance.gamma(2, 5, base.height), 6))
        )
        for way in ("consumerRPC", "providerRPC", "HTTP")
        for what in ("MCR", "RT")
    ]
    return pl.concat(parts)


def _rates_2022(make: Maker, base: pl.DataFrame) -> pl.DataFrame:
    columns = [pl.Series(name, np.round(make.chance.gamma(2, 5, base.height), 6)) for name in RATES]
    frame = base.with_columns(columns).with_columns(nodeid=pl.lit("NODE_1"))
    return frame.with_columns(writemc_rt=pl.lit(0.0), writemc_mcr=pl.lit(0.0))  # nobody calls that way


def _calls(make: Maker, ms: NDArray[np.str_], hashed: bool) -> pl.DataFrame:
    """Return call graphs of five calls; those between services by both sides, some with a side that knows less."""
    traces, services = max(4, make.rows // 10), len(ms)
    root = make.chance.integers(0, make.steps * 15_000, traces)
    rows: list[dict[str, object]] = []
    for number, begin in enumerate(root.tolist()):
        trace = f"{'' if hashed else 'T_'}{number:08x}15919399974329000e"
        one, two, three = (str(name) for name in make.chance.choice(ms, 3))
        shape = (
            ("0", "http", "(?)", one),
            ("0.1", "rpc", one, two),
            ("0.1.1", "rpc", two, three),
            ("0.1.2", "mc", two, _ms(services, hashed)),
            ("0.2", "db", one, _ms(services + 1, hashed)),
        )
        for at, (rpc, way, um, dm) in enumerate(shape):
            call = {"timestamp": begin + at, "traceid": trace, "rpc": rpc, "um": um, "rpctype": way}
            call |= {"interface": f"if{at}", "dm": dm, "rt": 20.0 - 3 * at}
            both = way == "rpc"
            rows.append(call | ({"dm": "(?)"} if both and number % 7 == 0 else {}))
            rows += [call | {"rt": 3.0 * at - 19, "um": "NAN" if number % 5 == 0 else um}] if both else []
    frame = pl.DataFrame(rows)
    return frame.rename({"rpc": "rpcid" if hashed else "rpc_id"})


def _with_header(make: Maker, name: str, frame: pl.DataFrame, archive: bool) -> None:
    if archive:
        frame = frame.select(pl.int_range(pl.len()).alias(""), pl.all())
    _write(make, name, frame.write_csv().encode(), archive)


def gpu_2023_trace(make: Maker) -> None:
    """Write the list of pods, one that is a sample of it, and the list of nodes."""
    count = max(20, make.rows // 10)
    created = np.sort(make.chance.integers(0, count * 1_500, count))
    scheduled = created + make.chance.integers(0, 120, count)
    gone = np.minimum(scheduled + make.chance.integers(60, 90_000, count), count * 1_600)
    gone[-3:] = count * 1_600
    phase = make.chance.choice(["Succeeded", "Failed", "Running"], count)
    phase[-3:] = "Running"
    pods = pl.DataFrame(
        {
            "name": [f"openb-pod-{number:04d}" for number in range(count)],
            "cpu_milli": make.chance.choice([4_000, 12_000, 88_000], count),
            "memory_mib": make.chance.choice([15_258, 32_768], count),
            "num_gpu": make.chance.choice([0, 1, 8], count),
            "gpu_milli": make.chance.choice([220, 1_000], count),
            "gpu_spec": make.chance.choice(["", "V100M16|V100M32"], count),
            "qos": make.chance.choice(["LS", "BE", "Burstable"], count),
            "pod_phase": phase,
            "creation_time": created,
            "deletion_time": gone,
            "scheduled_time": scheduled,
        }
    ).with_columns(pl.when(pl.int_range(pl.len()) % 19 != 5).then("scheduled_time"))  # some never are
    nodes = pl.DataFrame(
        {
            "sn": [f"openb-node-{number:04d}" for number in range(make.instances)],
            "cpu_milli": np.full(make.instances, 96_000),
            "memory_mib": np.full(make.instances, 786_432),
            "gpu": make.chance.choice([0, 8], make.instances),
            "model": make.chance.choice(["", "G3", "V100M32"], make.instances),
        }
    )
    _with_header(make, "openb_pod_list_default.csv", make.shuffled(pods), archive=False)
    _with_header(make, "openb_pod_list_cpu050.csv", pods.head(5), archive=False)
    _with_header(make, "openb_node_list_all_node.csv", nodes, archive=False)


GENERATORS: Final[Mapping[str, Callable[[Maker], None]]] = {
    borg_2019.SCOPE: borg_2019_trace,
    borg_2011.SCOPE: borg_2011_trace,
    alibaba_2018.SCOPE: alibaba_2018_trace,
    "alibaba-microservices-2021": microservices_2021_trace,
    "alibaba-microservices-2022": microservices_2022_trace,
    alibaba_gpu_2023.SCOPE: gpu_2023_trace,
}

if __name__ == "__main__":
    typer.run(main)

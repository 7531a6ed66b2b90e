"""Log lines of an invented cluster, as Fluent Bit writes them to Kafka: made from a seed, the same every time.

Lines of nine programs, each with statements of its own and variable parts of the usual kinds: numbers, addresses, ids,
durations, paths, users. One line in 500 holds a password, as they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import numpy as np

from benchmarks.load import SEED, START_MS, namespace, service

PODS: Final = 240
_STATEMENTS: Final[tuple[Callable[[int, str, str], str], ...]] = (
    lambda n, at, _: (
        f'10.2.{n % 256}.{n % 250} - - [22/Aug/2025:{at[:8]} +0000] "GET /items/{n} HTTP/1.1" 200 {n % 9000}'
    ),
    lambda n, at, _: f'10.2.{n % 256}.{n % 250} - - [22/Aug/2025:{at[:8]} +0000] "POST /orders HTTP/1.1" 201 {n % 900}',
    lambda n, at, _: f"2025-08-22 {at} INFO  [http-nio-8080-exec-{n % 20}] c.e.Orders : Order {n} took {n % 900} ms",
    lambda n, at, _: (
        f"2025-08-22 {at} INFO  [http-nio-8080-exec-{n % 20}] c.e.Orders : Order {n} paid by user {n % 7000}"
    ),
    lambda n, at, _: (
        f"2025-08-22 {at} WARN  [pool-3-thread-{n % 9}] c.e.Pool : Connection {n} idle for {n % 60} s, closing"
    ),
    lambda n, at, _: (
        f"2025-08-22 {at} ERROR [http-nio-8080-exec-{n % 20}] c.e.Pay : Card of order {n} was declined: code {n % 40}"
    ),
    lambda n, at, _: f"2025-08-22 {at} DEBUG [scheduling-1] c.e.Jobs : Swept {n % 300} carts older than {n % 48} h",
    lambda n, at, h: (
        f'{{"level":"info","ts":"2025-08-22T{at}Z","msg":"request","status":200,"ms":{n % 800},"trace":"{h}"}}'
    ),
    lambda n, at, h: f'{{"level":"warn","ts":"2025-08-22T{at}Z","msg":"retry","attempt":{n % 5},"trace":"{h}"}}',
    lambda n, at, h: f'{{"level":"error","ts":"2025-08-22T{at}Z","msg":"giving up","after":{n % 9},"trace":"{h}"}}',
    lambda n, at, _: (
        f'level=info ts=2025-08-22T{at}Z caller=head.go:{n % 900} msg="Head GC completed" duration={n % 99}ms'
    ),
    lambda n, at, _: (
        f'level=error ts=2025-08-22T{at}Z caller=client.go:{n % 400} msg="upstream timed out" after={n % 30}s'
    ),
    lambda n, at, _: (
        f"I0822 {at[:8]}.{n % 10**6:06}       1 controller.go:{n % 300}] Reconciled shop/store-{n % 100} in {n % 90}ms"
    ),
    lambda n, at, _: (
        f"E0822 {at[:8]}.{n % 10**6:06}       1 reflector.go:{n % 300}] Failed to watch *v1.Pod: connection refused"
    ),
    lambda n, at, _: (
        f"W0822 {at[:8]}.{n % 10**6:06}       1 warnings.go:{n % 90}] v1 Endpoints is deprecated in v1.33+"
    ),
    lambda n, _, __: f"user {n} added item {n % 5000} to cart, total {n / 100:.2f} EUR",
    lambda n, _, __: f"user {n} removed item {n % 5000} from cart",
    lambda n, _, h: f"session {h} of user {n} expired after {n % 3600} seconds",
    lambda n, _, __: f"cache miss for key product:{n % 40_000}:price, loading from 10.3.{n % 9}.{n % 250}:5432",
    lambda n, _, __: f"sent mail {n} to queue mails, {n % 50} waiting",
    lambda n, _, __: f"Accepted publickey for deploy from 10.4.{n % 20}.{n % 250} port {n % 60_000} ssh2",
    lambda n, _, __: (
        f"kernel: [{n}.{n % 10**6:06}] TCP: request_sock_TCP: Possible SYN flooding on port 8080. Sending cookies."
    ),
    lambda n, _, __: (
        f"GC(%d) Pause Young (Normal) {n % 900}M->{n % 300}M(1024M) {n % 40}.{n % 1000:03}ms" % (n % 10_000)
    ),
    lambda n, _, h: f"wrote checkpoint {h[:8]} of partition {n % 64} at offset {n} in {n % 700} ms",
    lambda n, _, __: f"redis: slowlog entry {n}: HGETALL cart:{n % 90_000} took {n % 50_000} microseconds",
    lambda n, _, __: f"Rebalance of group orders-{n % 4}: generation {n % 300}, member has {n % 9} partitions",
    lambda n, _, __: (
        f"LOG:  checkpoint complete: wrote {n % 9000} buffers ({n % 100}.{n % 10}%); sync={n % 3}.{n % 1000:03} s"
    ),
    lambda n, _, __: f"ERROR:  deadlock detected DETAIL: Process {n % 60_000} waits for ShareLock on transaction {n}",
    lambda n, _, __: (
        f"connect to postgres://app:{'pw' if n % 20 else f's3cr{n}'}@10.3.0.{n % 9}:5432/shop took {n % 80} ms"
    ),
    lambda n, _, h: f"span {h[:16]} exported to collector in {n % 30} ms, {n % 512} spans in batch",
)


class Logs:
    """`lines` lines, evenly over `seconds` of event time, over `partitions` partitions by pod."""

    def __init__(self, lines: int, seconds: int, partitions: int = 4, seed: int = SEED) -> None:
        self.lines, self.partitions = lines, partitions
        self._step_ms = seconds * 1_000 / lines
        self._rng = np.random.default_rng(seed)
        self._tails = [_kubernetes(pod) for pod in range(PODS)]

    def batches(self, size: int = 20_000) -> Iterator[list[tuple[int, bytes, str]]]:
        """Yield (partition, body, line) in the order of time."""
        for begin in range(0, self.lines, size):
            yield self._batch(begin, min(begin + size, self.lines))

    def _batch(self, begin: int, end: int) -> list[tuple[int, bytes, str]]:
        encode = msgspec.json.encode
        numbers = self._rng.integers(1_000_000, size=end - begin).tolist()
        pods = self._rng.integers(PODS, size=end - begin).tolist()
        kinds = self._rng.zipf(1.3, size=end - begin).tolist()
        made = []
        for at, n, pod, kind in zip(range(begin, end), numbers, pods, kinds, strict=True):
            ms = START_MS + int(at * self._step_ms)
            line = _line(pod, kind, n, ms)
            body = b'{"@timestamp":%d.%03d,"stream":"stdout","log":%b,%b' % (
                ms // 1_000,
                ms % 1_000,
                encode(line),
                self._tails[pod],
            )
            made.append((pod % self.partitions, body, line))
        return made


def _line(pod: int, kind: int, n: int, ms: int) -> str:
    """Return a line: a pod's program has a third of the statements, of which the first are the most frequent."""
    statement = _STATEMENTS[(pod % 9 + 3 * (kind % 10)) % len(_STATEMENTS)]
    seconds = ms // 1_000
    at = f"{seconds // 3_600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms % 1_000:03}"
    return statement(n, at, f"{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}")


def _kubernetes(pod: int) -> bytes:
    name = service(pod)
    known = {
        "pod_name": f"{name}-7d9c5b8f4d-x{pod % 10}2zq",
        "namespace_name": namespace(pod),
        "pod_id": f"5ad1a0be-6c2e-4f6c-9d1e-{pod:012}",
        "labels": {"app": name, "pod-template-hash": "7d9c5b8f4d"},
        "host": f"ip-10-1-{pod % 20}-7.ec2.internal",
        "container_name": "app",
        "docker_id": f"{pod:064x}",
        "container_image": f"registry.example.com/shop/{name}:1.4.2",
    }
    return b'"kubernetes":' + msgspec.json.encode(known) + b"}"

"""The floor of `bench throughput`: a loop that takes messages from librdkafka and does nothing with them.

    python -m benchmarks.throughput_floor BOOTSTRAP TOPIC PARTITIONS TOTAL

Writes `{"items", "cpu_s", "wall_s"}` as JSON: processor seconds of the whole process, librdkafka's threads included,
from before the first message to after the last.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Final

BATCH: Final = 5_000
_SILENT_S: Final = 20.0


def consumed(bootstrap: str, topic: str, partitions: int, total: int) -> dict[str, float]:
    """Return what it took to consume `total` messages, in batches as large as the worker's."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{topic}-floor",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    cpu_s, clock_s, items = time.process_time(), time.monotonic(), 0
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])
    heard_s = clock_s
    while items < total:
        items += (taken := len(consumer.consume(BATCH, 0.2)))
        heard_s = time.monotonic() if taken else heard_s
        if time.monotonic() - heard_s > _SILENT_S:
            sys.exit(f"bench: {topic} gave {items} of {total} messages")
    result = {"items": items, "cpu_s": time.process_time() - cpu_s, "wall_s": time.monotonic() - clock_s}
    consumer.close()
    return result


if __name__ == "__main__":
    sys.stdout.write(json.dumps(consumed(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))

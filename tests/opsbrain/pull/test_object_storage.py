"""Objects of S3 become rows of the right entities, each once: over restarts, crashes, late keys and changed objects.

S3 is a double here: moto's server, asked by boto3 over HTTP like the real one.
"""

import functools
import gzip
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Retryable, SourceError
from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.pull.aws import aws_client
from opsbrain.pull.object_storage import MAX_SEEN, ObjectStoragePuller, Progress
from opsbrain.secrets import Secret
from opsbrain.settings import ObjectStorage
from tests.opsbrain.pull.aws_double import KEYS, Kept, client, moto, post

GOLDEN = Path(__file__).parents[2] / "golden"
DEMO = Identity("demo")
HOUR_MS = 3_600_000
BUCKET = "telemetry"
CLIENTS = functools.cache(aws_client)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with moto() as address:
        yield address


@pytest.fixture(autouse=True)
def one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share what takes boto3 half a second to make."""
    monkeypatch.setattr("opsbrain.pull.object_storage.aws_client", CLIENTS)


@pytest.fixture(scope="module")
def connected(address: str) -> Any:
    return client("s3", address)


@pytest.fixture
def s3(address: str, connected: Any) -> Any:
    post(address, "/moto-api/reset")
    connected.create_bucket(Bucket=BUCKET)
    return connected


@pytest.fixture
def puller(address: str, tmp_path: Path) -> Callable[..., ObjectStoragePuller]:
    def build(keep: Kept, format: str = "fluentbit", max_bytes: int = 1 << 20, **more: Any) -> ObjectStoragePuller:
        settings = ObjectStorage(
            name="it",
            url=f"s3://{BUCKET}/in/",
            format=format,
            region="us-east-1",
            endpoint_url=address,
            access_key_id=Secret(KEYS["aws_access_key_id"]),
            secret_access_key=Secret(KEYS["aws_secret_access_key"]),
            **more,
        )
        return ObjectStoragePuller(settings, keep, tmp_path, max_bytes)

    return build


def now_ms(s3: Any) -> int:
    """Return a time just after the last object came, by the store's own clock."""
    times = [one["LastModified"] for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())]
    return int(max(times).timestamp() * 1000) + 1000


def put(s3: Any, key: str, body: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def logs(*numbers: int, pod: str = "store-77tk444p6s-2jpfw") -> bytes:
    """Return an object as Fluent Bit's out_s3 writes it: JSON lines, compressed."""
    lines = [
        json.dumps(
            {
                "date": "2026-08-01T10:00:00.000000Z",
                "log": f"line {number}",
                "kubernetes": {"pod_name": pod, "namespace_name": "shop"},
            }
        )
        for number in numbers
    ]
    return gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)


def lines_of(*kept: Kept) -> Counter[str]:
    """Return how often each line was kept, as its format reads it."""
    found: Counter[str] = Counter()
    for one in kept:
        bodies = one.of("fluentbit")
        decoded = format_of("fluentbit", DEMO).decode(bodies, range(len(bodies)), "in")
        assert not decoded.letters
        assert set(decoded.rows["entity"]) <= {"demo/service/shop/store"}
        found.update(decoded.rows["body"])
    return found


def each_once(count: int) -> Counter[str]:
    return Counter({f"line {number}": 1 for number in range(count)})


def test_every_line_is_found_once_over_restarts_in_the_middle(s3: Any, puller: Callable[..., Any]) -> None:
    for number in range(10):
        put(s3, f"in/2026/08/01/{number:02}.gz", logs(2 * number, 2 * number + 1))
    put(s3, "in/2026/08/01/", b"")
    put(s3, "elsewhere/x.gz", logs(99))
    now = now_ms(s3)
    kept = [Kept(crash_after=4), Kept(full_after=3), Kept(), Kept()]
    with pytest.raises(SystemExit):
        puller(kept[0]).poll(now)
    with pytest.raises(Retryable):
        puller(kept[1]).poll(now + 1)
    puller(kept[2]).poll(now + 2)
    puller(kept[3]).poll(now + 2 * HOUR_MS)
    assert [len(one.bodies) for one in kept] == [4, 3, 3, 0]
    assert lines_of(*kept) == each_once(20)


def test_a_crash_before_anything_was_remembered_repeats_the_same_bytes(
    s3: Any, puller: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "in/a.gz", logs(*range(100)))
    first, second = Kept(), Kept()
    with monkeypatch.context() as dead:  # killed: not even `finally` runs
        dead.setattr("opsbrain.pull.object_storage.StateFile.save", lambda *_: None)
        puller(first, max_bytes=2000).poll(now_ms(s3))
    puller(second, max_bytes=2000).poll(now_ms(s3))
    assert len(first.bodies) > 5
    assert first.bodies == second.bodies  # so the requests' hashes tell that they came before
    assert lines_of(first) == each_once(100)


def test_a_key_that_sorts_before_those_read_is_found(s3: Any, puller: Callable[..., Any]) -> None:
    kept = Kept()
    pull = puller(kept, lookback_s=60)
    put(s3, "in/eu-west-1/02.gz", logs(0))
    put(s3, "in/us-east-1/02.gz", logs(1))
    now = now_ms(s3)
    pull.poll(now)
    put(s3, "in/eu-west-1/03.gz", logs(2))
    put(s3, "in/us-east-1/03.gz", logs(3))
    pull.poll(now + 1000)
    assert lines_of(kept) == each_once(4)
    put(s3, "in/ap-east-1/03.gz", logs(4))  # before the first: not until the next full listing
    pull.poll(now + 2000)
    assert lines_of(kept) == each_once(4)
    pull.poll(now + HOUR_MS)
    assert lines_of(kept) == each_once(5)


def test_a_changed_object_is_read_again_and_an_unchanged_one_is_not(s3: Any, puller: Callable[..., Any]) -> None:
    kept = Kept()
    put(s3, "in/a.gz", logs(0))
    put(s3, "in/b.gz", logs(1))
    puller(kept).poll(now_ms(s3))
    put(s3, "in/a.gz", logs(2))
    put(s3, "in/b.gz", logs(1))  # written again, the same
    puller(kept).poll(now_ms(s3))
    assert lines_of(kept) == each_once(3)


def test_an_object_that_changes_between_listing_and_reading_waits_for_the_next_poll(
    s3: Any, puller: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    pull = puller(kept)
    put(s3, "in/a.gz", logs(0))
    inner = pull._take

    def take(*arguments: Any) -> None:
        put(s3, "in/a.gz", logs(1))
        inner(*arguments)

    with monkeypatch.context() as racing:
        racing.setattr(ObjectStoragePuller, "_take", lambda _, *arguments: take(*arguments))
        pull.poll(now_ms(s3))
    assert not kept.bodies
    pull.poll(now_ms(s3))
    assert lines_of(kept) == Counter({"line 1": 1})


def test_what_is_older_than_history_is_left_alone(s3: Any, puller: Callable[..., Any]) -> None:
    put(s3, "in/a.gz", logs(0))
    kept = Kept()
    puller(kept, history_s=3600).poll(now_ms(s3) + 2 * HOUR_MS)
    assert not kept.bodies


def test_what_cannot_be_used_is_told_of_once_and_stops_nothing(
    s3: Any, puller: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    put(s3, "in/a.gz", logs(0)[:-3])
    put(s3, "in/b.gz", logs(0))
    put(s3, "in/c.json", b"[" + b"1," * 5000 + b"1]")
    kept = Kept()
    with caplog.at_level(logging.WARNING):
        puller(kept, max_bytes=4000).poll(now_ms(s3))
        puller(kept, max_bytes=4000).poll(now_ms(s3))
    assert len(kept.bodies) == 1
    told = [line.partition(" is left out: ")[2] for line in caplog.messages if "is left out" in line]
    assert [line.split(" and ")[0] for line in told] == ["gzip is cut off", "it is larger than 4,000 bytes"]


def test_memory_is_bounded_by_what_came_lately(s3: Any, puller: Callable[..., Any]) -> None:
    pull = puller(Kept(), lookback_s=60)
    for number in range(5):
        put(s3, f"in/{number}.gz", logs(number))
    pull.poll(now_ms(s3))
    assert len(pull._progress.seen) == 5
    pull.poll(now_ms(s3) + 2 * HOUR_MS)
    assert not pull._progress.seen
    crowd = {str(number): ("e", number) for number in range(MAX_SEEN + 10)}
    progress = Progress(0, seen=crowd)
    pull._move_on(progress, 0, full=False)
    assert len(progress.seen) == MAX_SEEN
    assert progress.horizon_ms == 10


def test_a_bucket_that_is_not_there_is_one_line_without_secrets(s3: Any, puller: Callable[..., Any]) -> None:
    s3.delete_bucket(Bucket=BUCKET)
    with pytest.raises(SourceError) as caught:
        puller(Kept()).poll(0)
    assert str(caught.value) == "cannot list s3://telemetry/in/: NoSuchBucket"


def test_nobody_at_the_address_is_one_line(tmp_path: Path) -> None:
    settings = ObjectStorage(
        name="it",
        url="s3://b/p",
        format="fluentbit",
        region="us-east-1",
        endpoint_url="http://127.0.0.1:9",
        access_key_id=Secret("testing"),
        secret_access_key=Secret("do-not-show"),
    )
    with pytest.raises(SourceError, match=r"^cannot list s3://b/p: Could not connect") as caught:
        ObjectStoragePuller(settings, Kept(), tmp_path, 1000).poll(0)
    assert "do-not-show" not in str(caught.value)


def test_a_stop_ends_a_poll_and_loses_nothing(s3: Any, puller: Callable[..., Any]) -> None:
    for number in range(4):
        put(s3, f"in/{number}.gz", logs(number))
    kept = Kept()
    pull = puller(kept)
    inner = kept.keep

    def keep(format: str, body: bytes) -> None:
        inner(format, body)
        pull.close()

    kept.keep = keep  # type: ignore[method-assign]
    pull.poll(now_ms(s3))
    assert len(kept.bodies) == 1
    rest = Kept()
    puller(rest).poll(now_ms(s3))
    assert lines_of(kept, rest) == each_once(4)


# --- CloudTrail ---


def trail(*numbers: int) -> bytes:
    records = [
        {
            "eventVersion": "1.08",
            "userIdentity": {
                "type": "IAMUser",
                "arn": "arn:aws:iam::222222222222:user/jo",
                "accountId": "222222222222",
            },
            "eventTime": "2026-08-01T10:00:00Z",
            "eventSource": "rds.amazonaws.com",
            "eventName": "ModifyDBInstance",
            "awsRegion": "eu-west-1",
            "sourceIPAddress": "192.0.2.1",
            "requestParameters": {"dBInstanceIdentifier": "orders"},
            "responseElements": None,
            "requestID": f"r-{number}",
            "eventID": f"e-{number}",
            "eventType": "AwsApiCall",
            "readOnly": False,
            "recipientAccountId": "222222222222",
            "resources": [{"ARN": "arn:aws:rds:eu-west-1:222222222222:db:orders"}],
        }
        for number in numbers
    ]
    return gzip.compress(json.dumps({"Records": records}).encode(), mtime=0)


def test_cloudtrail_files_of_several_regions(s3: Any, puller: Callable[..., Any]) -> None:
    folder = "in/AWSLogs/222222222222/CloudTrail"
    put(s3, f"{folder}/eu-west-1/2026/08/01/a.json.gz", trail(*range(20)))
    put(s3, f"{folder}/us-east-1/2026/08/01/b.json.gz", trail(20, 21))
    put(s3, "in/AWSLogs/222222222222/CloudTrail-Digest/eu-west-1/2026/08/01/d.json.gz", gzip.compress(b"{}"))
    kept = [Kept(crash_after=3), Kept()]
    with pytest.raises(SystemExit):
        puller(kept[0], "cloudtrail", max_bytes=3000).poll(now_ms(s3))
    puller(kept[1], "cloudtrail", max_bytes=3000).poll(now_ms(s3))
    bodies = [body for one in kept for body in one.of("cloudtrail")]
    decoded = format_of("cloudtrail", DEMO).decode(bodies, range(len(bodies)), "in")
    rows = decoded.rows.unique(["identity", "ts_ms"])  # the file that the crash cut is read again: the same events
    assert rows.height == 22
    assert set(rows["reason"]) == {"ModifyDBInstance"}
    assert set(rows["entity"]) == {"demo/database/-/orders"}


# --- bills ---


def amounts(*bodies: bytes, came_ms: int) -> dict[tuple[str, str], float]:
    decoded = format_of("focus", DEMO).decode(bodies, range(len(bodies)), "in", [came_ms] * len(bodies))
    assert not decoded.letters
    rows = decoded.rows.sort("offset").iter_rows(named=True)
    start_ms = 1_785_542_400_000
    return {
        (row["entity"], f"2026-08-{(row['period_start_ms'] - start_ms) // 86_400_000 + 1:02}"): row["amount_usd"]
        for row in rows
    }


EXPORT = "in/bill/data/BILLING_PERIOD=2026-08"
CAME_MS = 1_785_542_400_000 + 10 * 86_400_000
BIG_HISTORY = {"history_s": 10**9, "settle_s": 300}


def golden(file: str) -> bytes:
    return (GOLDEN / "focus" / file).read_bytes()


@pytest.mark.parametrize("file", ["focus-1.2.csv.bin", "focus-1.2.csv.gz.bin", "focus-1.2.parquet.bin"])
def test_a_bill_in_several_files_says_what_it_says_in_one(s3: Any, puller: Callable[..., Any], file: str) -> None:
    ending = {"csv": ".csv", "gz": ".csv.gz", "parquet": ".parquet"}[file.split(".")[-2]]
    put(s3, f"{EXPORT}/export-00001{ending}", golden(file))
    put(s3, f"{EXPORT}/export-00002{ending}", golden(file))
    put(s3, "in/bill/metadata/BILLING_PERIOD=2026-08/export-Manifest.json", b"{}")
    kept = Kept()
    now = now_ms(s3) + HOUR_MS
    puller(kept, "focus", **BIG_HISTORY).poll(now)
    once = amounts(golden(file), came_ms=CAME_MS)
    twice = amounts(*kept.of("focus"), came_ms=CAME_MS)
    assert twice == pytest.approx({key: 2 * value for key, value in once.items()}, rel=1e-15)
    assert len(kept.bodies) == 2  # a day each
    puller(kept, "focus", **BIG_HISTORY).poll(now + HOUR_MS)
    assert len(kept.bodies) == 2


def test_a_bill_that_is_still_written_waits_and_only_days_that_changed_come_again(
    s3: Any, puller: Callable[..., Any]
) -> None:
    kept = Kept()
    put(s3, f"{EXPORT}/export-00001.csv", golden("focus-1.2.csv.bin"))
    pull = puller(kept, "focus", **BIG_HISTORY)
    now = now_ms(s3)
    pull.poll(now)
    assert not kept.bodies
    pull.poll(now + HOUR_MS // 10)
    assert len(kept.bodies) == 2
    put(s3, f"{EXPORT}/export-00001.csv", golden("focus-1.2.csv.bin").replace(b",0.5,", b",0.75,"))
    pull.poll(now_ms(s3) + HOUR_MS // 10)
    assert len(kept.bodies) == 3
    revised = amounts(kept.bodies[2][1], came_ms=CAME_MS)
    assert revised == {("demo/service/default/store", "2026-08-02"): 0.75}


def test_a_bill_is_read_once_over_a_crash_between_its_days(s3: Any, puller: Callable[..., Any]) -> None:
    put(s3, f"{EXPORT}/export-00001.csv", golden("focus-1.2.csv.bin"))
    first, second = Kept(crash_after=1), Kept()
    now = now_ms(s3) + HOUR_MS
    with pytest.raises(SystemExit):
        puller(first, "focus", **BIG_HISTORY).poll(now)
    puller(second, "focus", **BIG_HISTORY).poll(now)
    assert [len(first.bodies), len(second.bodies)] == [1, 1]
    both = amounts(*first.of("focus"), *second.of("focus"), came_ms=CAME_MS)
    assert both == pytest.approx(amounts(golden("focus-1.2.csv.bin"), came_ms=CAME_MS), rel=1e-14)


def test_lines_of_a_bill_that_cannot_be_used_reach_the_dead_letters(s3: Any, puller: Callable[..., Any]) -> None:
    broken = golden("focus-1.2.csv.bin").replace(b",0.5,", b",half,").replace(b"2026-08-01T02:00:00Z", b"soon")
    put(s3, f"{EXPORT}/export-00001.csv", broken)
    kept = Kept()
    puller(kept, "focus", **BIG_HISTORY).poll(now_ms(s3) + HOUR_MS)
    bodies = kept.of("focus")
    decoded = format_of("focus", DEMO).decode(bodies, range(len(bodies)), "in", [CAME_MS] * len(bodies))
    assert sum(letter.rows for letter in decoded.letters) == 3


def test_a_file_that_is_no_bill_is_told_of(
    s3: Any, puller: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    put(s3, f"{EXPORT}/other.csv", b"a,b\n1,2\n")
    with caplog.at_level(logging.WARNING):
        puller(Kept(), "focus", **BIG_HISTORY).poll(now_ms(s3) + HOUR_MS)
    [line] = [one for one in caplog.messages if "is left out" in one]
    assert "no FOCUS columns BillingAccountId" in line

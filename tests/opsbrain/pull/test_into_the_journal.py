"""From S3 through the journal into the engine: every record once, though the puller dies before it remembers anything.

S3 is a double here: moto's server.
"""

from pathlib import Path

import pytest

from engine.store import SqliteStore
from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.journal import Journal
from opsbrain.keep import JournalKeep
from opsbrain.live import Input, Live, LiveConfig
from opsbrain.pull.object_storage import ObjectStoragePuller
from opsbrain.secrets import Secret
from opsbrain.settings import ObjectStorage
from tests.engine.parts import config
from tests.opsbrain.pull.aws_double import KEYS, client, moto
from tests.opsbrain.pull.test_object_storage import BUCKET, logs, now_ms, put, trail

CAME_MS = 1_785_600_000_000  # after what the samples tell of


class Killed(BaseException):
    """The process is gone: nothing runs any more, not even what should at last."""


def test_each_record_is_accepted_once_whenever_the_puller_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = {name: format_of(name, Identity("x")) for name in ("fluentbit", "cloudtrail")}
    journals = {name: Journal(tmp_path / name) for name in formats}
    with moto() as address:
        s3 = client("s3", address)
        s3.create_bucket(Bucket=BUCKET)
        for number in range(6):
            put(s3, f"in/fluentbit/{number}.gz", logs(*range(10 * number, 10 * number + 10)))
            put(s3, f"in/cloudtrail/{number}.json.gz", trail(*range(10 * number, 10 * number + 10)))
        now = now_ms(s3)

        def puller(name: str) -> ObjectStoragePuller:
            settings = ObjectStorage(
                name=name,
                url=f"s3://{BUCKET}/in/{name}/",
                format=name,
                region="us-east-1",
                endpoint_url=address,
                access_key_id=Secret(KEYS["aws_access_key_id"]),
                secret_access_key=Secret(KEYS["aws_secret_access_key"]),
            )
            return ObjectStoragePuller(settings, JournalKeep(journals, lambda: CAME_MS), tmp_path / "pull", 1000)

        for name in formats:
            with monkeypatch.context() as dying:
                kept = iter(range(7))
                inner = JournalKeep.keep

                def keep(self: JournalKeep, format: str, body: bytes) -> None:
                    if next(kept, None) is None:  # noqa: B023 - used up within the loop's own round
                        raise Killed
                    inner(self, format, body)  # noqa: B023

                dying.setattr(JournalKeep, "keep", keep)
                dying.setattr("opsbrain.pull.object_storage.StateFile.save", lambda *_: None)
                with pytest.raises(Killed):
                    puller(name).poll(now)
            puller(name).poll(now)

    inputs = [Input(name, formats[name], journals[name]) for name in formats]
    engine = LiveConfig(config(), ("x",))
    live = Live(engine, inputs, SqliteStore(tmp_path / "c.sqlite"), lambda collected, now_ms: None, now)
    live.drain(now)
    counts = {name: dict(live._pipeline.windows[name].counts) for name in formats}
    for name in formats:
        assert counts[name]["accepted"] == 60, counts
        assert counts[name]["duplicate"] > 0, counts
        assert not counts[name].get("late"), counts
    assert not live._pipeline.dead_letters.total()

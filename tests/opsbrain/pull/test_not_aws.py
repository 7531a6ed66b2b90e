"""What answers in the place of AWS and is something else ends a poll with one line, not the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from engine.errors import SourceError
from opsbrain.pull.cost_explorer import CostExplorerPuller
from opsbrain.pull.object_storage import ObjectStoragePuller
from opsbrain.secrets import Secret
from opsbrain.settings import CostExplorer, ObjectStorage
from tests.opsbrain.pull.aws_double import Kept

NOON_MS = 1_785_585_600_000
KEY = Secret("testing")


class Answering(BaseHTTPRequestHandler):
    """Answers whatever is asked with the server's `body`."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = self.server.body  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answering) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "body",
    [
        b"<html><p>hello",
        b"\xff\xfe",
        b"<L><Contents><Key>k</Key><LastModified>soon</LastModified></Contents></L>",
        b"<L><Contents><Key>k</Key></Contents></L>",
    ],
)
def test_a_listing_that_is_none(server: HTTPServer, tmp_path: Path, body: bytes) -> None:
    server.body = body  # type: ignore[attr-defined]
    one = ObjectStorage(
        name="x",
        url="s3://bucket/in/",
        format="fluentbit",
        region="us-east-1",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        access_key_id=KEY,
        secret_access_key=KEY,
    )
    with pytest.raises(SourceError, match=r"^cannot list s3://bucket/in/: ") as caught:
        ObjectStoragePuller(one, Kept(), tmp_path, 1 << 20).poll(NOON_MS)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"3",
        b'{"ResultsByTime":[{}]}',
        b'{"ResultsByTime":[{"TimePeriod":3}]}',
        b'{"ResultsByTime":3}',
    ],
)
def test_costs_that_are_none(server: HTTPServer, tmp_path: Path, body: bytes) -> None:
    server.body = body  # type: ignore[attr-defined]
    address = f"http://127.0.0.1:{server.server_port}"
    settings = CostExplorer(enabled=True, hour_utc=0, endpoint_url=address, access_key_id=KEY, secret_access_key=KEY)
    kept = Kept()
    try:
        CostExplorerPuller(settings, kept, tmp_path, 1 << 20).poll(NOON_MS)
    except SourceError as error:
        assert str(error).isprintable()
    assert not kept.bodies

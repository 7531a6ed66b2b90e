"""Each protocol takes what its shippers send, answers as they expect, and refuses so that nothing is lost."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import hmac
import json
import zlib
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import anyio
import cramjam
import httpx
import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, DataError, Retryable
from ingest.registry import FORMATS
from opsbrain.access import Access
from opsbrain.endpoints import ENDPOINTS, GRPC_METHODS, KUBERNETES_EVENTS, events_format
from opsbrain.github_form import payload_of
from opsbrain.http_guard import access_of
from opsbrain.keep import NoPlace, TooLarge, Unavailable
from opsbrain.receive_body import BodyLimits, Budget, UnknownEncoding, decompressed, zstd_size
from opsbrain.remote_write_http import undone, written
from opsbrain.replies import rpc_status
from opsbrain.secrets import Secret
from opsbrain.settings import Http
from opsbrain.settings import Receivers as ReceiverSettings
from opsbrain.tally import Tally
from tests.opsbrain.doors import Doors

WRITE = {"content_type": "application/x-protobuf", "content_encoding": "snappy"}
WRITE_2 = WRITE | {"content_type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
PROTOBUF = {"content_type": "application/x-protobuf"}
JSON = {"content_type": "application/json"}
OTLP_PATHS = ("/v1/logs", "/v1/metrics", "/v1/traces")


def block(message: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message))


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128 and number < 16
    return bytes([number << 3 | 2, len(content)]) + content


@pytest.fixture
def doors() -> Doors:
    return Doors()


def test_every_endpoint_has_a_format_that_exists() -> None:
    missing = {*ENDPOINTS.values(), *GRPC_METHODS.values(), KUBERNETES_EVENTS} - set(FORMATS)
    assert not missing


def test_remote_write_1_is_kept_as_it_came(doors: Doors) -> None:
    body = block(field(1, b"\n\x00"))
    answer = doors.post("/api/v1/write", body, x_prometheus_remote_write_version="0.1.0", **WRITE)
    assert (answer.status_code, answer.content) == (204, b"")
    assert doors.kept.bodies == [("prometheus-remote-write", body)]


def test_remote_write_2_hears_what_was_written(doors: Doors) -> None:
    samples, exemplar = field(2, b"") * 3, field(4, b"")
    series = field(5, field(1, b"\x01\x02") + samples) + field(5, samples + field(3, b"") + exemplar)
    body = block(field(4, b"") + series)
    answer = doors.post("/api/v1/write", body, **WRITE_2)
    assert answer.status_code == 204
    told = {name: answer.headers[f"x-prometheus-remote-write-{name}-written"] for name in ("samples", "histograms")}
    assert told == {"samples": "6", "histograms": "1"}
    assert answer.headers["x-prometheus-remote-write-exemplars-written"] == "1"
    assert doors.kept.bodies == [("prometheus-remote-write", body)]


def test_remote_write_refuses_what_it_cannot_take(doors: Doors) -> None:
    bomb = block(b"x" * 10_001)
    answers = [
        doors.post("/api/v1/write", block(b""), **(WRITE | {"content_type": "application/x-protobuf;proto=x.Y"})),
        doors.post("/api/v1/write", block(b""), **(WRITE | {"content_type": "application/json"})),
        doors.post("/api/v1/write", b"", **(WRITE | {"content_encoding": "gzip"})),
        doors.post("/api/v1/write", b"", **WRITE),
        doors.post("/api/v1/write", b"\xff\xff\xff\xff\xff", **WRITE),
        doors.post("/api/v1/write", block(b"x" * 100)[:-1], **WRITE),
        doors.post("/api/v1/write", bomb, **WRITE),
        doors.post("/api/v1/write", block(b"\xff"), **WRITE_2),
    ]
    assert [one.status_code for one in answers] == [415, 415, 415, 400, 400, 400, 413, 400]
    assert all(one.text.count("\n") == 1 for one in answers)
    assert doors.kept.bodies == []


@pytest.mark.parametrize("path", OTLP_PATHS)
@pytest.mark.parametrize(("headers", "answered"), [(PROTOBUF, b""), (JSON, b"{}")])
def test_otlp_is_answered_in_its_own_encoding(doors: Doors, path: str, headers: dict, answered: bytes) -> None:
    body = b'{"resourceLogs":[]}' if headers is JSON else field(1, b"")
    for content, more in ((body, {}), (gzip.compress(body), {"content_encoding": "gzip"})):
        answer = doors.post(path, content, **headers, **more)
        assert (answer.status_code, answer.content) == (200, answered)
        assert answer.headers["content-type"] == headers["content_type"]
    assert doors.kept.bodies == [(ENDPOINTS[path], body)] * 2


def test_otlp_refusals_are_a_status_in_the_encoding_of_the_request(doors: Doors) -> None:
    doors.kept.refusal = Unavailable("the broker is away", 2.5)
    as_json, as_protobuf = doors.post("/v1/logs", b"{}", **JSON), doors.post("/v1/logs", b"\n\0", **PROTOBUF)
    assert (as_json.status_code, as_json.headers["retry-after"]) == (503, "3")
    assert as_json.json() == {"code": 14, "message": "the broker is away"}
    assert as_protobuf.headers["content-type"] == "application/x-protobuf"
    assert Status.FromString(as_protobuf.content) == Status(code=14, message="the broker is away")
    assert doors.post("/v1/logs", b"x", content_type="text/plain").status_code == 415
    assert doors.post("/v1/logs", b"x", content_encoding="gzip", **PROTOBUF).status_code == 400


@pytest.mark.parametrize("name", sorted(path for path in ENDPOINTS if path.startswith("/hooks/")))
def test_hooks_keep_their_body_whole(doors: Doors, name: str) -> None:
    answer = doors.post(name, b'{"a": 1}\n')
    assert (answer.status_code, answer.json()) == (202, {"received": 1})
    assert doors.kept.bodies == [(ENDPOINTS[name], b'{"a": 1}\n')]


def test_fluentbit_bodies_of_every_kind_are_kept_whole(doors: Doors) -> None:
    bodies = (b'[{"date":1.5,"log":"a"}]', b'{"date":1.5}\n{"date":2.5}\n', b'{"date":1}{"date":2}', b"\x92\xcb\x3f")
    for body in bodies:
        assert doors.post("/fluentbit", gzip.compress(body), content_encoding="gzip").status_code == 202
    assert doors.kept.bodies == [("fluentbit", body) for body in bodies]


@pytest.mark.parametrize(
    ("body", "format"),
    [
        (b'{"metadata":{},"reason":"BackOff","involvedObject":{}}', "kubernetes-event-exporter"),
        (b'{"kind":"Event","apiVersion":"v1","involvedObject":{}}', "kubernetes-events"),
        (b'{"metadata":{},"note":"x","regarding":{}}', "kubernetes-events"),
        (b'{"type":"ADDED","object":{}}', "kubernetes-events"),
        (b'{"kind":"EventList","items":[]}', "kubernetes-events"),
        (b'[{"regarding":{}}]', "kubernetes-events"),
        (b'{"regarding":{}}\n{"regarding":{}}', "kubernetes-events"),
        (b'{"regarding":{}}{"regarding":{}}', "kubernetes-events"),
        (b"[]", "kubernetes-event-exporter"),
        (b"[1]", "kubernetes-event-exporter"),
        (b"nonsense", "kubernetes-event-exporter"),
        (b"\xff", "kubernetes-event-exporter"),
        (b"[" * 100_000, "kubernetes-event-exporter"),
    ],
)
def test_events_are_told_apart_by_their_first_record(body: bytes, format: str) -> None:
    assert events_format(body) == format


@given(st.binary(max_size=200))
def test_no_bytes_upset_what_looks_at_them(body: bytes) -> None:
    assert events_format(body)
    zstd_size(body)
    for encoding in ("gzip", "deflate", "zstd"):
        with pytest.raises(DataError):
            decompressed(body or b"x", encoding, 1_000)
    for look in (lambda: undone(body, 1_000, lambda size: None), lambda: written(body)):
        with contextlib.suppress(DataError):
            look()


def test_encodings_are_undone_within_the_limit() -> None:
    body = bytes(range(256)) * 30
    packed = {
        "": body,
        "gzip": gzip.compress(body[:5_000]) + gzip.compress(body[5_000:]),
        "deflate": zlib.compress(body),
        "zstd": bytes(cramjam.zstd.compress(body)),
    }
    for encoding, sent in packed.items():
        taken: list[int] = []
        assert decompressed(sent, encoding, len(body), taken.append) == body
        assert sum(taken) == (len(body) if encoding else 0)
        if encoding:
            with pytest.raises(TooLarge):
                decompressed(sent, encoding, len(body) - 1)
            with pytest.raises(DataError):
                decompressed(sent[:-9], encoding, len(body))
    with pytest.raises(UnknownEncoding):
        decompressed(body, "br", len(body))


def test_a_bomb_costs_no_more_than_the_limit() -> None:
    taken: list[int] = []
    for encoding, bomb in (
        ("gzip", gzip.compress(b" " * 50_000_000)),
        ("zstd", bytes(cramjam.zstd.compress(b" " * 50_000_000))),
    ):
        with pytest.raises(TooLarge):
            decompressed(bomb, encoding, 3_000_000, taken.append)
    assert sum(taken) <= 3_000_000 + (1 << 20)


def test_a_full_keep_says_when_to_come_again_in_every_protocol(doors: Doors) -> None:
    doors.kept.refusal = Retryable("the journal is full", 4.2)
    answers = [
        doors.post("/receive/fluentbit"),
        doors.post("/hooks/gitlab"),
        doors.post("/v1/traces", b"\n\0", **PROTOBUF),
        doors.post("/api/v1/write", block(b"\n\0"), **WRITE),
    ]
    assert [(one.status_code, one.headers["retry-after"]) for one in answers] == [(429, "5")] * 4


def test_who_drops_what_gets_429_gets_503(doors: Doors) -> None:
    doors.kept.refusal = Retryable("the journal is full", 5.0)
    answer = doors.post("/api/v1/write", block(b"\n\0"), user_agent="Prometheus/2.42.0", **WRITE)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_too_much_at_once_is_refused_and_nothing_stays_taken() -> None:
    doors = Doors(budget=Budget(1_000))
    assert doors.post("/receive/fluentbit", b"x" * 1_000).status_code == 202
    answers = [
        doors.post("/receive/fluentbit", b"x" * 1_001),
        doors.client.post("/receive/fluentbit", content=iter([b"x" * 600, b"x" * 600])),
        doors.post("/receive/fluentbit", gzip.compress(b"x" * 2_000), content_encoding="gzip"),
    ]
    assert [one.status_code for one in answers] == [429] * 3
    assert answers[0].headers["retry-after"] == "1"
    assert doors.budget.taken_bytes == 0
    assert doors.tally.counts() == {"fluentbit": {"429": 3, "bytes": 1_000, "kept": 1}}


def test_a_slow_body_is_given_up_and_may_come_again() -> None:
    doors = Doors(limits=BodyLimits(10_000, 0.01))

    async def crawl() -> AsyncIterator[bytes]:
        yield b"x"
        await anyio.sleep_forever()

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(doors.app), base_url="http://127.0.0.1") as client:
            return await client.post("/receive/fluentbit", content=crawl())

    answer = anyio.run(send)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert doors.budget.taken_bytes == 0


def test_what_will_be_one_dead_letter_is_kept_and_counts_as_one(doors: Doors) -> None:
    body = b"1\n" * 2_000
    answer = doors.post("/fluentbit", body)
    assert (answer.status_code, answer.json()) == (202, {"received": 1})
    assert doors.kept.bodies == [("fluentbit", body)]


def test_only_github_says_ping(doors: Doors) -> None:
    paths = ("/fluentbit", "/hooks/gitlab", "/receive/github")
    answers = [doors.post(path, b'{"a":1}', x_github_event="ping").json() for path in paths]
    assert answers == [{"received": 1}] * 3
    assert len(doors.kept.bodies) == 3


def test_a_format_without_a_place_says_so(doors: Doors) -> None:
    doors.kept.refusal = NoPlace("no topic of kafka.telemetry has format 'fluentbit'")
    answers = [doors.post("/fluentbit"), Doors(formats=("fluentbit",)).post("/hooks/gitlab")]
    assert [one.status_code for one in answers] == [404, 404]
    assert "no topic" in answers[0].json()["error"] and "one of: fluentbit" in answers[1].json()["error"]


CONSOLE, SHIPPER, HOOK, GITLAB, GITHUB = "console-token", "shipper-token", "hook-token", "gitlab-token", "github-secret"
OPEN_TO_ALL = Http(host="0.0.0.0", token=Secret(CONSOLE))
GUARDED = ReceiverSettings(
    ingest_token=Secret(SHIPPER), hook_token=Secret(HOOK), gitlab_token=Secret(GITLAB), github_secret=Secret(GITHUB)
)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_each_token_opens_its_doors_and_no_others() -> None:
    doors = Doors(OPEN_TO_ALL, GUARDED)
    paths = ("/fluentbit", "/receive/fluentbit", "/hooks/argocd", "/hooks/gitlab", "/hooks/github", "/")
    opened = {
        token: [doors.post(path, **bearer(token)).status_code != 401 for path in paths]
        for token in (CONSOLE, SHIPPER, HOOK, GITLAB, GITHUB, "")
    }
    assert opened == {
        CONSOLE: [True] * 6,
        SHIPPER: [True] * 5 + [False],
        HOOK: [False, False, True, True, True, False],
        GITLAB: [False] * 6,
        GITHUB: [False] * 6,
        "": [False] * 6,
    }


def test_a_token_may_come_as_a_password_or_an_api_key() -> None:
    doors = Doors(OPEN_TO_ALL, GUARDED)
    basic = base64.b64encode(f"fluent:{SHIPPER}".encode()).decode()
    answers = [
        doors.post("/fluentbit", authorization=f"Basic {basic}"),
        doors.post("/hooks/cloudtrail", x_api_key=HOOK),
        doors.post("/hooks/cloudtrail", x_api_key=GITLAB),
    ]
    assert [one.status_code for one in answers] == [202, 202, 401]


def test_gitlab_shows_its_token() -> None:
    doors = Doors(OPEN_TO_ALL, GUARDED)
    shown = [GITLAB, HOOK, CONSOLE, "", "\u00e9"]
    answers = [
        doors.client.post("/hooks/gitlab", content=b"{}", headers={"x-gitlab-token": one.encode("latin-1")})
        for one in shown
    ]
    assert [one.status_code for one in answers] == [202, 401, 401, 401, 401]
    without = Doors(OPEN_TO_ALL, ReceiverSettings(hook_token=Secret(HOOK)))
    assert without.post("/hooks/gitlab", x_gitlab_token=HOOK).status_code == 202


def signed(body: bytes, secret: str = GITHUB) -> dict[str, str]:
    return {"x_hub_signature_256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def test_github_signs_its_body() -> None:
    doors = Doors(OPEN_TO_ALL, GUARDED)
    body = b'{"action":"completed"}'
    answers = [
        doors.post("/hooks/github", body, **signed(body)),
        doors.post("/hooks/github", body + b" ", **signed(body)),
        doors.post("/hooks/github", body, **signed(body, "other")),
        doors.post("/hooks/github", body, x_hub_signature_256="sha256=" + "g" * 64),
        doors.post("/hooks/github", body),
        doors.post("/hooks/github", body, x_github_event="ping", **signed(body)),
    ]
    assert [one.status_code for one in answers] == [202, 401, 401, 401, 401, 202]
    assert answers[-1].json() == {"received": 0}
    assert doors.kept.bodies == [("github", body)]
    assert Doors(Http(), GUARDED).post("/hooks/github", body).status_code == 401, "a secret asks on loopback too"


def test_github_may_send_forms() -> None:
    doors = Doors(OPEN_TO_ALL, GUARDED)
    body = json.dumps({"ref": "a+b & 100%", "text": "\u00e9\n"}).encode()
    form = urlencode({"payload": body}).encode()
    as_form = {"content_type": "application/x-www-form-urlencoded"}
    answers = [
        doors.post("/hooks/github", form, **as_form, **signed(form)),
        doors.post("/hooks/github", form, **as_form, **signed(body)),
        doors.post("/hooks/github", body, **as_form, **signed(body)),
        doors.post("/receive/github", form, **as_form, **bearer(HOOK)),
    ]
    assert [one.status_code for one in answers] == [202, 401, 202, 202]
    assert doors.kept.bodies == [("github", body)] * 3


@given(st.binary(max_size=50), st.integers(65_480, 65_560))
def test_forms_are_undone_wherever_they_are_cut(end: bytes, fill: int) -> None:
    body = b"x" * fill + end
    assert payload_of(urlencode({"payload": body}).encode() + b"&more=1") == body


def test_bodies_not_yet_known_to_be_signed_may_fill_a_quarter_of_memory() -> None:
    doors = Doors(OPEN_TO_ALL, GUARDED, budget=Budget(4_000))
    body = b"x" * 1_001
    assert doors.post("/hooks/github", body, **signed(body)).status_code == 429
    assert doors.post("/fluentbit", body, **bearer(SHIPPER)).status_code == 202


def test_nothing_stands_open_beyond_this_machine() -> None:
    everywhere = Http(host="0.0.0.0")
    shippers = ReceiverSettings(ingest_token=Secret(SHIPPER))
    with pytest.raises(ConfigError, match=r"http\.token"):
        access_of(everywhere, shippers)
    with pytest.raises(ConfigError, match=r"receivers\.ingest_token"):
        access_of(everywhere, ReceiverSettings(hook_token=Secret(HOOK)), console=False)
    assert isinstance(access_of(everywhere, shippers, console=False), Access)


def test_no_answer_repeats_a_token() -> None:
    doors = Doors(OPEN_TO_ALL, GUARDED)
    answers = [doors.post(path, b"\xff", **bearer("wr0ng")) for path in (*ENDPOINTS, "/receive/x")]
    assert not any(token in one.text for one in answers for token in ("wr0ng", CONSOLE, SHIPPER, HOOK, GITLAB))
    assert CONSOLE not in repr(vars(doors.http) if hasattr(doors.http, "__dict__") else doors.http)


def test_a_status_carries_when_to_come_again() -> None:
    from google.rpc.error_details_pb2 import RetryInfo

    status = Status.FromString(rpc_status(8, "full", 2.5))
    info = RetryInfo()
    assert (status.code, status.message) == (8, "full")
    assert status.details[0].Unpack(info)
    assert (info.retry_delay.seconds, info.retry_delay.nanos) == (2, 500_000_000)


def test_answers_are_small_and_json_is_json(doors: Doors) -> None:
    answer = doors.post("/receive/" + "x" * 500)
    assert answer.status_code == 404 and len(answer.content) < 1_000
    assert json.loads(answer.content)["error"]


def test_without_a_console_the_counters_are_behind_the_shippers_token() -> None:
    http, receivers = Http(host="0.0.0.0"), ReceiverSettings(ingest_token=Secret("t0ken"))
    access = access_of(http, receivers, console=False)
    assert not access.opens("console", {})
    assert access.opens("console", {"authorization": "Bearer t0ken"})


def test_strangers_are_counted_and_said_once_a_minute(caplog) -> None:
    now_s = [0.0]
    doors = Doors(OPEN_TO_ALL, GUARDED, tally=Tally(lambda: now_s[0]))
    for _ in range(12):
        doors.post("/v1/logs", **bearer("hunter2-not-ours"))
    doors.post("/receive/hunter2-not-ours")
    doors.client.get("/hunter2-not-ours", headers=bearer("hunter2-not-ours"))
    doors.client.get("/")  # so browsers begin
    doors.post("/hooks/github", b"{}", **signed(b"other"))
    now_s[0] = 61.0
    doors.tally.say()
    doors.tally.say()
    assert [one.getMessage() for one in caplog.records] == [
        "wrong token at /v1/logs (1 time)",
        "no token at /receive/... (1 time), wrong signature at /hooks/github (1 time), "
        "wrong token at /v1/logs (11 times), wrong token at the console (1 time)",
    ]
    told = doors.tally.counts()
    assert {name: one["401"] for name, one in told.items()} == {
        "otlp-logs": 12,
        "unknown": 1,
        "console": 2,
        "github": 1,
    }


def test_a_refusal_says_what_does_not_fit_and_no_more() -> None:
    doors = Doors(OPEN_TO_ALL, GUARDED)
    said = [
        doors.post("/v1/logs").text,
        doors.post("/v1/logs", **bearer("x")).text,
        doors.post("/hooks/gitlab", x_gitlab_token="x").text,
        doors.post("/hooks/github", x_hub_signature_256="sha256=x").text,
        doors.post("/hooks/github", b"{}", **signed(b"x")).json()["error"],
    ]
    assert said == [
        "a token is needed: Authorization: Bearer TOKEN\n",
        "the token that is borne does not fit here\n",
        "X-Gitlab-Token does not fit\n",
        "the signature does not fit: X-Hub-Signature-256\n",
        "the signature does not fit: X-Hub-Signature-256 is not that of this body",
    ]


@pytest.mark.parametrize(
    ("receivers", "opened", "closed"),
    [
        (ReceiverSettings(gitlab_token=Secret(GITLAB)), "github", "gitlab"),
        (ReceiverSettings(github_secret=Secret(GITHUB)), "gitlab", "github"),
        (ReceiverSettings(hook_token=Secret(HOOK)), "fluentbit", "argocd"),
        (ReceiverSettings(ingest_token=Secret(SHIPPER), hook_token=Secret(HOOK)), None, "argocd"),
    ],
)
def test_no_way_leads_around_the_secret_of_a_hook(receivers, opened: str | None, closed: str) -> None:
    doors = Doors(Http(), receivers)
    for path in (f"/receive/{closed}", f"/receive/{closed}/", f"/hooks/{closed}"):
        assert doors.post(path).status_code == 401
    if opened is not None:
        assert doors.post(f"/receive/{opened}").status_code == 202
    assert doors.kept.bodies == ([(opened, b"{}")] if opened else [])


def test_a_signature_is_worth_nothing_where_none_is_looked_at() -> None:
    doors = Doors(Http(), ReceiverSettings(github_secret=Secret(GITHUB), hook_token=Secret(HOOK)))
    assert doors.post("/receive/github", b"{}", **signed(b"{}")).status_code == 401
    assert doors.post("/receive/github", b"{}", **bearer(HOOK)).status_code == 202
    assert doors.post("/receive/gitlab", b"{}", x_gitlab_token=HOOK).status_code == 202

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from autofix.approval import Choice, Decision
from engine.errors import SourceError
from engine.types import Phase
from opsbrain.console import console_app
from opsbrain.live_view import Received, calm, store_view
from opsbrain.notify.delivery import Delivery
from opsbrain.notify.outbox import FILE_NAME, Outbox
from opsbrain.report.view import ReportView
from opsbrain.store import Store
from tests.opsbrain.samples import T0, fix, incident


@pytest.fixture
def folder(tmp_path):
    with Store(tmp_path) as store:
        store.put_incidents(
            [incident(1), incident(2, Phase.RESOLVED), incident(1, id="inc-ff", title="search is slow")]
        )
        store.put_fixes([fix()])
        store.decide(fix(), Decision(fix().id, 1, Choice.REJECT, "ada", T0, "not now"))
    outbox = Outbox(tmp_path / FILE_NAME)
    delivery = Delivery("inc-ff.1", "on-call", "inc-ff", "opened", b"{}", 0)
    outbox.enqueue(delivery, T0)
    outbox.delivered(delivery, T0, "HTTP 202")
    outbox.close()
    return tmp_path


@pytest.fixture
def client(folder):
    with TestClient(console_app(lambda: store_view(folder, "shop"))) as one:
        yield one


def test_the_page_shows_the_newest_of_everything(client):
    for path in ("/", "/incidents"):
        page = client.get(path)
        assert page.status_code == 200
        assert "search is slow" in page.text and "payments: slow" in page.text
        assert "HTTP 202" in page.text and "rejected" in page.text
        assert 'href="/incidents/inc-ff"' in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_one_incident_has_a_page_of_its_own(client):
    page = client.get("/incidents/inc-f")
    assert page.status_code == 200
    assert "search is slow" in page.text and "payments: slow" not in page.text
    assert client.get("/incidents/inc-").status_code == 404
    assert client.get("/incidents/<script>").headers["content-type"].startswith("text/plain")


def test_the_same_as_json(client):
    listed = client.get("/api/incidents").json()
    assert {(one["id"], one["revision"]) for one in listed} == {("inc-0123456789abcdef", 2), ("inc-ff", 1)}
    one = client.get("/api/incidents/inc-0").json()
    assert one["incident"]["id"] == "inc-0123456789abcdef" and one["fixes"][0]["standing"] == "rejected"
    assert client.get("/api/fixes").json()[0]["outcome"] == "inconclusive"
    assert client.get("/api/incidents/nope").status_code == 404


def test_it_is_read_only(client):
    assert client.post("/").status_code == 405


def test_health_says_why_not():
    def broken() -> ReportView:
        raise SourceError("the store is gone")

    with TestClient(console_app(broken)) as client:
        assert client.get("/healthz").status_code == 503
        page = client.get("/")
        assert page.status_code == 503 and page.text == "the store is gone\n"
    with TestClient(console_app(lambda: ReportView("x"))) as client:
        assert client.get("/healthz").text == "ok\n"
        assert "No incident" in client.get("/").text


def test_calm_is_said_only_of_what_was_judged():
    assert calm(Received())[0] == "Nothing was received yet"
    heading, text = calm(Received(accepted=2, late=1, dead_letters=3, latest_ms=T0))
    assert heading == "No window was judged since the start"
    assert "6 rows received, 1 late, 3 dead-lettered; newest event 2023-11-14 22:13:20 UTC" in text
    assert calm(Received(dead_letters=3))[0] == "Nothing readable was received yet"
    assert "stayed within what was expected" in calm(Received(2, latest_ms=T0, from_ms=T0, until_ms=T0 + 1))[1]


def test_a_page_without_any_time_shows_none(tmp_path):
    with TestClient(console_app(lambda: store_view(tmp_path))) as client:
        page = client.get("/").text
    assert "Nothing was received yet" in page and "live telemetry" in page
    assert "1970" not in page and "stayed within" not in page


def test_a_decision_takes_the_place_of_the_risk_once(client):
    page = client.get("/").text
    assert page.count("rejected by ada") == 2 and "needs approval" not in page  # in the card on top, and at the fix

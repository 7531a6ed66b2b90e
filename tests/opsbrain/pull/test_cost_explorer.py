"""Costs and anomalies are asked for once a day, whole, and become rows of the right accounts.

Cost Explorer is a double here: moto's server, which answers `GetCostAndUsage` from a queue; for `GetAnomalies`, which
moto does not know, and for pages, a client that answers from a list.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Retryable, SourceError
from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.pull.cost_explorer import CostExplorerPuller
from opsbrain.secrets import Secret
from opsbrain.settings import CostExplorer
from tests.opsbrain.pull.aws_double import KEYS, Kept, moto, post

GOLDEN = Path(__file__).parents[2] / "golden"
DEMO = Identity("demo")
BY_SERVICE = json.loads((GOLDEN / "aws-cost-explorer" / "by-service.json").read_bytes())
ANOMALIES = json.loads((GOLDEN / "aws-cost-anomalies" / "answer.json").read_bytes())["response"]["Anomalies"]


def at_ms(day: int, hour: int) -> int:
    return int(datetime(2026, 8, day, hour, tzinfo=UTC).timestamp() * 1000)


def result(day: int, *groups: tuple[str, str]) -> dict[str, Any]:
    return {
        "TimePeriod": {"Start": f"2026-08-{day:02}", "End": f"2026-08-{day + 1:02}"},
        "Total": {},
        "Groups": [
            {"Keys": key.split("+"), "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": "USD"}}}
            for key, amount in groups
        ],
        "Estimated": False,
    }


class Client:
    """Answers from lists, and notes what was asked."""

    def __init__(self, costs: list[dict[str, Any]], anomalies: list[dict[str, Any]]) -> None:
        self.answers = {"costs": costs, "anomalies": anomalies}
        self.asked: list[dict[str, Any]] = []

    def get_cost_and_usage(self, **question: Any) -> dict[str, Any]:
        return self.page("costs", question)

    def get_anomalies(self, **question: Any) -> dict[str, Any]:
        return self.page("anomalies", question)

    def page(self, what: str, question: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(question)
        number = int(question.get("NextPageToken", "0"))
        page = self.answers[what][number]
        more = {"NextPageToken": str(number + 1)} if number + 1 < len(self.answers[what]) else {}
        return {**page, **more, "ResponseMetadata": {"RetryAttempts": 0}}


@pytest.fixture
def puller(tmp_path: Path) -> Callable[..., CostExplorerPuller]:
    def build(keep: Kept, client: Any = None, max_bytes: int = 1 << 20, **more: Any) -> CostExplorerPuller:
        user, secret = (Secret(KEYS[name]) for name in ("aws_access_key_id", "aws_secret_access_key"))
        settings = CostExplorer(enabled=True, access_key_id=user, secret_access_key=secret, **more)
        made = CostExplorerPuller(settings, keep, tmp_path, max_bytes)
        made._client = client
        return made

    return build


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with moto() as address:
        yield address


def spent(*bodies: bytes) -> dict[str, float]:
    decoded = format_of("aws-cost-explorer", DEMO).decode(bodies, range(len(bodies)), "in")
    assert not decoded.letters
    return dict(decoded.rows.select("entity", "amount_usd").iter_rows())


def test_a_day_is_asked_for_once_after_the_hour(address: str, puller: Callable[..., Any]) -> None:
    post(address, "/moto-api/static/ce/cost-and-usage-results", {"results": [BY_SERVICE]})
    kept = [Kept(), Kept(), Kept()]
    puller(kept[0], endpoint_url=address, anomalies=False).poll(at_ms(2, 11))
    puller(kept[1], endpoint_url=address, anomalies=False).poll(at_ms(2, 12))
    puller(kept[2], endpoint_url=address, anomalies=False).poll(at_ms(2, 23))
    assert [len(one.bodies) for one in kept] == [0, 1, 0]
    [(format, body)] = kept[1].bodies
    assert format == "aws-cost-explorer"
    assert spent(body) == {
        "demo/account/-/Amazon_Elastic_Compute_Cloud_-_Compute": 12.3006589321,
        "demo/account/-/Amazon_Relational_Database_Service": 4.0800000005,
    }
    rows = format_of("aws-cost-explorer", DEMO).decode([body], [0], "in").rows
    assert set(rows["ts_ms"]) == {at_ms(2, 12)}


def test_what_aws_does_not_answer_is_one_line_and_costs_are_not_asked_for_again(
    address: str, puller: Callable[..., Any]
) -> None:
    kept = Kept()
    pull = puller(kept, endpoint_url=address)
    post(address, "/moto-api/static/ce/cost-and-usage-results", {"results": [BY_SERVICE]})
    for _ in range(2):
        with pytest.raises(SourceError, match=r"^GetAnomalies: "):
            pull.poll(at_ms(3, 12))
    assert [format for format, _ in kept.bodies] == ["aws-cost-explorer"]


def test_pages_are_one_message_so_that_an_entity_is_told_whole(puller: Callable[..., Any]) -> None:
    pages = [
        {"ResultsByTime": [result(1, ("Amazon EC2+app$store", "0.1"), ("Amazon EC2+app$", "3"))]},
        {"ResultsByTime": [result(1, ("Amazon S3+app$store", "0.2"))]},
    ]
    kept = Kept()
    client = Client(pages, [{"Anomalies": []}])
    puller(kept, client, group_by=("SERVICE", "TAG:app"), lookback_days=7).poll(at_ms(8, 12))
    [(_, body)] = kept.bodies
    assert spent(body) == {"demo/service/default/store": 0.30000000000000004, "demo/account/-/Amazon_EC2": 3.0}
    assert client.asked[0] == {
        "TimePeriod": {"Start": "2026-08-01", "End": "2026-08-08"},
        "Granularity": "DAILY",
        "Metrics": ["UnblendedCost"],
        "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "TAG", "Key": "app"}],
    }
    assert client.asked[1]["NextPageToken"] == "1"


def test_an_answer_too_large_for_one_message_is_cut_between_days(puller: Callable[..., Any]) -> None:
    days = [result(day, *((f"Service {number}", f"{number}.5") for number in range(20))) for day in range(1, 8)]
    kept = Kept()
    puller(kept, Client([{"ResultsByTime": days}], [{}]), max_bytes=8000).poll(at_ms(8, 12))
    assert len(kept.bodies) > 1
    assert all(len(body) <= 8000 for _, body in kept.bodies)
    told = [one for _, body in kept.bodies for one in json.loads(body)["response"]["ResultsByTime"]]
    assert told == days


def test_an_anomaly_is_told_when_it_is_new_or_grew(puller: Callable[..., Any]) -> None:
    kept = Kept()
    client = Client([{"ResultsByTime": []}], [{"Anomalies": ANOMALIES[:1]}, {"Anomalies": ANOMALIES[1:]}])
    puller(kept, client).poll(at_ms(5, 12))
    puller(kept, client).poll(at_ms(6, 12))
    assert len(kept.bodies) == 1
    grown = {**ANOMALIES[0], "Impact": {"TotalImpact": 400.0}}
    puller(kept, Client([{"ResultsByTime": []}], [{"Anomalies": [grown, ANOMALIES[1]]}])).poll(at_ms(7, 12))
    bodies = kept.of("aws-cost-anomalies")
    rows = format_of("aws-cost-anomalies", DEMO).decode(bodies, range(2), "in").rows
    assert rows["entity"].to_list() == [
        "demo/account/-/Amazon_Relational_Database_Service",
        "demo/account/-/AWS_Lambda",
        "demo/account/-/Amazon_Relational_Database_Service",
    ]
    assert rows["ts_ms"].to_list() == [at_ms(5, 12), at_ms(5, 12), at_ms(7, 12)]
    assert rows["identity"].n_unique() == 3


def test_what_could_not_be_kept_is_asked_for_again(puller: Callable[..., Any]) -> None:
    client = Client([{"ResultsByTime": [result(1, ("Amazon EC2", "1"))]}], [{"Anomalies": ANOMALIES}])
    with pytest.raises(Retryable):
        puller(Kept(full_after=0), client).poll(at_ms(2, 12))
    with pytest.raises(Retryable):
        puller(Kept(full_after=1), client).poll(at_ms(2, 12))
    last = Kept()
    puller(last, client).poll(at_ms(2, 13))
    assert [format for format, _ in last.bodies] == ["aws-cost-anomalies"]  # costs were kept the second time


def test_a_stop_ends_a_poll(puller: Callable[..., Any]) -> None:
    pull = puller(Kept(), Client([{"ResultsByTime": []}] * 5, []))
    pull.close()
    with pytest.raises(SourceError, match="stopped"):
        pull.poll(at_ms(2, 12))

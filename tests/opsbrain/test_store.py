from __future__ import annotations

import sqlite3

import pytest

from autofix.approval import Choice, Decision
from engine.errors import SourceError
from engine.types import Phase
from engine.values import to_json
from opsbrain.store import Store
from tests.opsbrain.samples import T0, anomaly, dead_letter, fix, incident


def decision(choice: Choice, at_ms: int = T0 + 1000, revision: int = 2, who: str = "ada") -> Decision:
    return Decision("fix-00112233445566aa", revision, choice, who, at_ms, "seen in the sandbox")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as one:
        one.put_incidents([incident(1), incident(2, Phase.RESOLVED), incident(1, id="inc-ff", opened_ms=T0 + 10**6)])
        one.put_fixes([fix(1), fix(2), fix(1, id="fix-ff", incident_id="inc-ff")])
        yield one


def test_the_newest_revisions_are_listed_and_repeats_change_nothing(store):
    for _ in range(2):
        assert [(one.id, one.revision) for one in store.incidents()] == [("inc-ff", 1), ("inc-0123456789abcdef", 2)]
        assert [(one.id, one.revision) for one in store.fixes("inc-ff")] == [("fix-ff", 1)]
        assert [one.revision for one in store.fixes()] == [2, 1]
        store.put_incidents([incident(1)])
        store.put_fixes([fix(1)])
    assert len(store.incident_revisions()) == 3 and len(store.fix_revisions()) == 3


def test_an_id_may_be_shortened_while_it_is_clear(store):
    assert store.incident("inc-0").id == "inc-0123456789abcdef"
    with pytest.raises(SourceError, match="is ambiguous: inc-0123456789abcdef, inc-ff"):
        store.incident("inc-")
    with pytest.raises(SourceError, match="'nope' is not known; `opsbrain fixes list`"):
        store.fix("nope")
    with pytest.raises(SourceError, match="'%' is not known"):
        store.incident("%")


def test_what_was_decided_is_judged_and_audited(store):
    one = store.fix("fix-0")
    assert store.decide(one, decision(Choice.APPROVE)).accepted
    again = store.decide(one, decision(Choice.APPROVE, T0 + 2000))
    assert not again.accepted and "approved" in again.entry.reason
    assert store.decide(one, decision(Choice.ROLLBACK, T0 + 3000)).accepted
    assert [entry.outcome for entry in store.audit()] == ["accepted", "refused", "accepted"]
    assert [one.choice for one in store.decisions(one.id)] == [Choice.APPROVE, Choice.ROLLBACK]
    assert "kubectl patch" in store.audit()[0].commands[0]


def test_everything_survives_a_restart(tmp_path):
    with Store(tmp_path) as first:
        first.put_incidents([incident()])
        first.put_anomalies([anomaly(), anomaly()])
        first.put_deadletters([dead_letter(), dead_letter()])
    with Store(tmp_path, create=False) as second:
        assert to_json(second.incidents()[0]) == to_json(incident())
        assert second.anomalies() == [anomaly()]
        assert second.deadletters() == [dead_letter()]


def test_a_store_that_is_not_there_or_not_ours_is_one_line(tmp_path):
    with pytest.raises(SourceError, match="not found; `opsbrain up` writes it"):
        Store(tmp_path / "none", create=False)
    (tmp_path / "opsbrain.sqlite").write_text("this is no database" * 100)
    with pytest.raises(SourceError, match=r"opsbrain\.sqlite: cannot open"):
        Store(tmp_path)
    other = tmp_path / "other"
    Store(other).close()
    with sqlite3.connect(other / "opsbrain.sqlite") as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(SourceError, match="another version"):
        Store(other)

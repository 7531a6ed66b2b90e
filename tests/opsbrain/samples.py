"""One incident with everything in it, as the tests of the application need it."""

from __future__ import annotations

from dataclasses import replace

from engine.types import (
    CHECKS,
    Action,
    Anomaly,
    Cause,
    Change,
    DeadLetter,
    Evidence,
    Fix,
    Incident,
    Outcome,
    Phase,
    Ranking,
    Risk,
    Severity,
    Transition,
    Verdict,
)

T0 = 1_700_000_000_000
NAN = float("nan")
PAYMENTS = "demo/service/shop/payments"
ORDERS = "demo/service/shop/orders"
GATEWAY = "demo/service/shop/gateway"


def anomaly(
    entity: str = PAYMENTS, indicator: str = "span.p90_ms", at_ms: int = T0 + 60_000, **more: object
) -> Anomaly:
    base = Anomaly(
        id=f"anm-{entity[-4:]}-{indicator}-{at_ms}",
        entity=entity,
        indicator=indicator,
        form="duration",
        detectors=("zscore",),
        start_ms=at_ms,
        end_ms=at_ms + 60_000,
        direction=1,
        expected_lo=38.0,
        expected_hi=55.0,
        observed=412.0,
        tail_p=3e-9,
        severity=Severity.CRITICAL,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def evidence(entity: str = PAYMENTS, indicator: str = "span.p90_ms", kind: str = "span", text: str = "") -> Evidence:
    return Evidence(
        entity,
        indicator,
        kind,
        1,
        0.97,
        T0 + 60_000,
        text or f"{indicator} of {entity.rsplit('/', 1)[-1]} rose from 38-55 to 412",
        38.0,
        55.0,
        412.0,
    )


def incident(revision: int = 1, phase: Phase = Phase.OPEN, **more: object) -> Incident:
    updated = T0 + 120_000 + 60_000 * revision
    causes = (
        Cause(
            PAYMENTS,
            0.91,
            (
                evidence(),
                Evidence(PAYMENTS, "change.deployment", "change", 0, 0.9, T0 + 40_000, "payments rolled out 1.4.3"),
            ),
            (PAYMENTS, ORDERS, GATEWAY),
        ),
        Cause(ORDERS, 0.34, (evidence(ORDERS),), (ORDERS, GATEWAY)),
    )
    transitions = [Transition(T0 + 120_000, "opened", "3 series of 3 entities left their range in one window")]
    if phase is Phase.RESOLVED:
        transitions.append(Transition(updated, "resolved", "nothing was wrong for 10 minutes"))
    base = Incident(
        id="inc-0123456789abcdef",
        revision=revision,
        scope="demo",
        phase=phase,
        severity=Severity.CRITICAL,
        title="payments: slow, and what calls it",
        opened_ms=T0 + 120_000,
        updated_ms=updated,
        resolved_ms=updated if phase is Phase.RESOLVED else None,
        entities=(GATEWAY, ORDERS, PAYMENTS),
        anomalies=(anomaly(), anomaly(ORDERS), anomaly(GATEWAY, expected_lo=NAN, expected_hi=NAN)),
        changes=(Change("chg-1", PAYMENTS, T0 + 40_000, "deployment", "image payments:1.4.2 -> payments:1.4.3"),),
        transitions=tuple(transitions),
        ranking=Ranking(causes),
    )
    return replace(base, **more)  # type: ignore[arg-type]


def fix(revision: int = 1, **more: object) -> Fix:
    patch = '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"payments:1.4.2"}]'
    undo = patch.replace("1.4.2", "1.4.3")
    outcomes = [Outcome.PASSED] * 4 + [Outcome.INCONCLUSIVE]
    base = Fix(
        id="fix-00112233445566aa",
        revision=revision,
        incident_id="inc-0123456789abcdef",
        playbook="rollback_deployment",
        entity=PAYMENTS,
        title="Roll payments back to 1.4.2",
        rationale="the incident began after payments 1.4.3 was rolled out",
        actions=(Action("patch", "apps/v1", "Deployment", "shop", "payments", patch),),
        undo=(Action("patch", "apps/v1", "Deployment", "shop", "payments", undo),),
        risk=Risk.NEEDS_APPROVAL,
        blast_radius=(PAYMENTS, ORDERS),
        expires_ms=T0 + 3_600_000,
        verdicts=tuple(
            Verdict(check, outcome, f"ran {check}", f"showed {outcome.value}")
            for check, outcome in zip(CHECKS, outcomes, strict=True)
        ),
    )
    return replace(base, **more)  # type: ignore[arg-type]


def dead_letter(offset: int = 7) -> DeadLetter:
    return DeadLetter("logs-0", offset, "not JSON", "{oops")

"""JUnit XML: reports of several tools, and XML that means harm."""

from typing import Any

import pytest

from tests.ingest.event_formats import PLANTED, decode, reasons, rows

AT_MS = 1_787_392_800_000
SUREFIRE = b"""<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="3.0" name="com.example.CartTest" time="0.05"
    tests="4" errors="1" skipped="1" failures="1">
  <properties>
    <property name="java.vm.name" value="OpenJDK"/>
    <property name="db.password" value="Tr0ub4dor3horse"/>
  </properties>
  <testcase name="adds" classname="com.example.CartTest" time="0.01"/>
  <testcase name="totals" classname="com.example.CartTest" time="0.01">
    <failure message="expected:&lt;3&gt; but was:&lt;4&gt;" type="java.lang.AssertionError">stack
    of calls</failure>
    <system-out>password=Tr0ub4dor3horse</system-out>
  </testcase>
  <testcase name="stock" classname="com.example.CartTest" time="0.01">
    <error type="java.sql.SQLException">java.sql.SQLException: token=Tr0ub4dor3horse is no more
    at com.example</error>
    <rerunError type="x">again</rerunError>
  </testcase>
  <testcase name="later" classname="com.example.CartTest"><skipped message="later"/></testcase>
  <testcase name="flaky" classname="com.example.CartTest"><flakyFailure message="once">x</flakyFailure></testcase>
</testsuite>
"""


def suite(inner: str = '<testcase name="a"/>', time: str = "2026-08-22T10:00:00", **attributes: str) -> bytes:
    said = "".join(
        f' {key}="{value}"' for key, value in ({"name": "s", "timestamp": time} | attributes).items() if value
    )
    return f"<testsuite{said}>{inner}</testsuite>".encode()


def test_a_report_of_surefire_has_no_time_of_its_own() -> None:
    found = rows("junit", SUREFIRE, received_ms=[AT_MS])
    assert [(row["reason"], row["type"], row["message"]) for row in found] == [
        ("TestFailed", "Warning", "com.example.CartTest.totals: expected:<3> but was:<4>"),
        (
            "TestError",
            "Warning",
            "com.example.CartTest.stock: java.sql.SQLException: token=<scrubbed> is no more; at com.example",
        ),
        ("TestsFailed", "Warning", "com.example.CartTest: 5 tests, 1 failed, 1 with errors, 1 skipped in 0.05 s"),
    ]
    assert {(row["ts_ms"], row["entity"], row["identity"]) for row in found} == {(AT_MS, "demo/ci/-/tests", 0)}
    assert len(decode("junit", SUREFIRE).letters) == 1


@pytest.mark.parametrize(
    ("time", "ts_ms"),
    [
        ("2026-08-22T10:00:00", AT_MS),
        ("2026-08-22T10:00:00.123456", AT_MS + 123),
        ("2026-08-22T12:00:00+02:00", AT_MS),
        ("2026-08-22T10:00:00.5Z", AT_MS + 500),
    ],
)
def test_times_without_a_zone_are_utc(time: str, ts_ms: int) -> None:
    (row,) = rows("junit", suite(time=time))
    assert (row["ts_ms"], row["reason"], row["type"]) == (ts_ms, "TestsPassed", "Normal")


def test_suites_within_suites() -> None:
    body = b'<testsuites name="checkout" timestamp="2026-08-22T10:00:00"><testsuite name="outer">'
    body += b'<testsuite name="one"><testcase name="a"/></testsuite>'
    body += b'<testsuite name="two"><properties><property name="repository" value="shop/cart"/></properties>'
    body += b'<testcase name="b"/><testcase name="c"><failure/></testcase></testsuite></testsuite>'
    body += b'<testsuite name="none"/></testsuites>'
    decoded = decode("junit", body)
    found = [(row["entity"], row["reason"], row["message"]) for row in decoded.rows.iter_rows(named=True)]
    assert found == [
        ("demo/ci/-/checkout", "TestsPassed", "one: 1 tests, 0 failed, 0 with errors, 0 skipped"),
        ("demo/ci/-/shop_cart", "TestFailed", "c"),
        ("demo/ci/-/shop_cart", "TestsFailed", "two: 2 tests, 1 failed, 0 with errors, 0 skipped"),
    ]
    assert (decoded.letters, decoded.dropped) == ([], {"a suite without tests": 1})


def nested(levels: int) -> bytes:
    return b"<testsuite name='s'>" * levels + b"</testsuite>" * levels


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<testsuite name="&b;"><testcase name="a"/></testsuite>"""
OUTSIDE = (
    b"""<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite name="s"><testcase name="&x;"/></testsuite>"""
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (LAUGHS, "a document type, which no report needs"),
        (OUTSIDE, "a document type, which no report needs"),
        (nested(65), "nested too deeply"),
        (nested(50_000), "nested too deeply"),
        (b"<html/>", "neither testsuites nor a testsuite"),
        (b"<testsuites/>", "it holds no event"),
        (b"<testsuite", "no XML: unclosed token"),
        (b"<testsuite name='\xff'/>", "no XML: not well-formed (invalid token)"),
        (b"<?xml version='1.0' encoding='rot13'?><testsuite/>", "an encoding that cannot be read"),
        (b"<?xml version='1.0' encoding='idna'?><testsuite/>", None),
        (b"", "empty message"),
        (suite("<testcase name='&undefined;'/>"), "no XML: undefined entity"),
        (suite(time="noon"), "time is missing, unreadable or outside 1980 to 2100"),
    ],
)
def test_xml_that_is_no_report_or_means_harm_is_refused(body: bytes, reason: str | None) -> None:
    decoded = decode("junit", body)
    assert decoded.rows.is_empty()
    assert len(decoded.letters) == 1
    assert reason is None or reasons(decoded) == [reason]


def test_reports_in_other_encodings() -> None:
    text = '<?xml version="1.0" encoding="{}"?><testsuite name="caf\u00e9" timestamp="2026-08-22T10:00:00">'
    text += '<testcase name="a"/></testsuite>'
    latin, wide = (text.format(one).encode(one) for one in ("iso-8859-1", "utf-16"))
    assert [row["uid"] for row in rows("junit", latin, wide)] == ["caf\u00e9"] * 2


def test_dead_letters_hold_no_property() -> None:
    spoiled = [
        SUREFIRE.replace(b"</testsuite>", b""),
        SUREFIRE[:330],
        SUREFIRE.replace(b'"Tr0ub4dor3horse"', b"'Tr0ub4dor3horse'") + b"<",
    ]
    assert not [one.body for one in decode("junit", *spoiled).letters if PLANTED in one.body]


def test_a_huge_failure_is_told_by_its_beginning() -> None:
    said: dict[str, Any] = {"inner": f"<testcase name='a'><failure>{'word ' * 100_000}</failure></testcase>"}
    first = rows("junit", suite(**said))[0]
    assert len(first["message"]) <= 2_010

"""How far a value goes whose name says that it is secret, and what only looks like one."""

import json
import time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.redaction import SCRUBBED as MARK
from ingest.scrub import Scrubber, looks_secret, names_header
from ingest.scrub_rules import RULES

SECRET = "hunter2x"
HEADERS = (
    '{"headers":{"Cookie":["sid=hunter2x"],"Authorization":["Token hunter2x"]}}',
    '{"cookie":["a=b","sid=hunter2x"],"level":"info"}',
    '{"cookies":{"sid":"hunter2x","n":{"a":["hunter2x"]}},"level":"info"}',
    '{"Cookie": [\n  "sid=hunter2x"\n]}',
    "Cookie: a=b; c='d'; z=hunter2x",
    'Cookie: a="b"; z=hunter2x',
    'Cookie: "a"; z=hunter2x',
    'cookie="a"; z=hunter2x',
    'Authorization: Digest username="u", response="hunter2x"',
    'Authorization: Digest username="CORP\\nick", response="hunter2x"',
    'msg="Cookie: a="b c"; z=hunter2x" level=info',
    "curl -H 'Cookie: a=\"b\"; z=hunter2x' http://h/",
    "headers: {'Cookie': 'a=\"x\"; sid=hunter2x'}",
    "{'headers': {'Cookie': ['sid=hunter2x']}}",
    "map[Authorization:[Basic hunter2x] Cookie:[sid=hunter2x]]",
    '{"log":"Cookie: a=b; c=\\"d\\"; z=hunter2x"}',
    '{"log":"{\\"Cookie\\":[\\"sid=hunter2x\\"]}"}',
    '{"log":"{\\"Cookie\\":\\"a=\\\\\\"x\\\\\\"; sid=hunter2x\\"}"}',
    "HTTP_COOKIE=sid=hunter2x",
    'http_authorization="Basic hunter2x" status=200',
    "set_cookie=hunter2x",
    "requestCookie: sid=hunter2x",
    "authorization header: Token hunter2x",
    "cookie[0]=sid=hunter2x",
    "cookies: a=b; c=hunter2x",
    "Cookie: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF_123; sid=hunter2x",
    "Cookie: <scrubbed>; sid=hunter2x",
    '{"name":"Cookie","value":"sid=hunter2x"}',
    '{"name":"Cookie","sensitive":true,"value":"sid=hunter2x"}',
    '{"value":"sid=hunter2x","name":"Cookie"}',
    '{"value":{"stringValue":"hunter2x"},"key":"http.request.header.cookie"}',
    '{"key":"http.request.header.authorization","value":{"stringValue":"Token hunter2x"}}',
    '{"key": "cookie", "value": {"arrayValue": {"values": [{"stringValue": "sid=hunter2x"}]}}}',
    '{"key":"\\u0061","a":"{\\"name\\":\\"cookie\\",\\"value\\":\\"hunter2x\\"}"}',
    '["Cookie","sid=hunter2x"]',
    "(b'authorization', b'hunter2x')",
    "['Host', 'h', 'Cookie', 'sid=hunter2x']",
    '{""Cookie"":""sid=hunter2x"",""a"":""b""}',
    "cookie: |\n  sid=hunter2x",
    '"Authorization"=>"Token hunter2x"',
    '{"Cookie":["sid=hunter2x',
    '{"Cookie":"sid=hunter2x',
    '{"authorization":12345678,"cookie":"hunter2x"}',
)
PASSWORDS = (
    '{"password":["hunter2x"]}',
    '{"password":{"value":"hunter2x"}}',
    '{"password" : { "a": "}", "value": "hunter2x" } , "user": "bob"}',
    '{"log":"{\\"password\\":{\\"value\\":\\"hunter2x\\"}}"}',
    '{""password"":""hunter2x"",""app"":""token=hunter2x""}',
    '{"name":"DB_PASSWORD","value":"hunter2x"}',
    '{"name":"DB_PASS","value":"hunter2x"}',
    '{"value":"hunter2x","name":"DB_PASS"}',
    '{"key":"db.password","value":{"stringValue":"hunter2x"}}',
    "- name: DB_PASSWORD\n  value: hunter2x\n- name: A\n  value: b",
    "password: |\n  hunter2x",
    "token: >-\n   hunter2x\n\n   hunter2x\nuser: bob",
    "db:\n  password: |-\n    hunter2x\n  user: bob",
    '{"blk":"password: |\\n  hunter2x\\nuser: bob"}',
    "DB_PASS=hunter2x",
    "pass=hunter2x&user=bob",
    '"auth":"hunter2x"',
    '{"auths":{"r.example.com":{"auth":"hunter2x"}}}',
    "smtp:\n  pass: hunter2x\n",
    "X-Auth: hunter2x",
    "name=DB_PASS value=hunter2x",
    "{name: DB_PASS, value: hunter2x}",
    "mysql --pass=hunter2x",
    'dsn="root:hunter2x@tcp(db:3306)/shop"',
    "DB_PASS=${OTHER:-hunter2x}",
    'password: "${A}hunter2x"',
)
KEPT = (
    "bypass=hunter2x",
    "compass: north-2",
    "pass: 12 fail: 3 skip: 1",
    "pass=12 fail=3",
    "--- PASS: Test_x2/sub_1 (0.00s)",
    "PASS: test-1.sh",
    '{"pass":12}',
    '{"auth":true,"authorization":false,"cookie":null}',
    "auth: failed for bob",
    "auth=ok",
    '{"auth":"none"}',
    "low_pass=0.35",
    "author=hunter2x",
    "DB_PASS=$(SECRET)",
    "DB_PASS=${SECRET}",
    'password: "${DB_PASSWORD}"',
    '"password":"$(A)-${B}"',
    '{"name":"DB_PASSWORD","value":"$(OTHER)"}',
    "- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n- name: A\n  value: b",
    '{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"name":"a","key":"b"}}}',
    '{"name":"cookie","type":"string"}',
    "dsn: in memory",
    '{"password":"","cookie":"","secrets":[],"token":{}}',
    'Access-Control-Allow-Headers: ["authorization","content-type","x-request-id"]',
    "set 3 cookies: 3",
    "cookie=<none>",
    "payments-auth: connection refused",
    'error: "db-auth": not registered',
    "checkout-auth=10.0.0.3:8080",
    "disableCookies: true",
)


@pytest.mark.parametrize("text", [*HEADERS, *PASSWORDS])
def test_no_part_of_a_secret_stays(text: str) -> None:
    scrubbed = Scrubber().text(text)
    assert SECRET not in scrubbed
    assert MARK in scrubbed
    assert Scrubber().text(scrubbed) == scrubbed


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert Scrubber().text(text) is text


@pytest.mark.parametrize("text", HEADERS)
def test_headers_never_stay_whatever_is_switched_off(text: str) -> None:
    assert SECRET not in Scrubber(enabled=False).text(text).replace("token=hunter2x", "")


@pytest.mark.parametrize("text", PASSWORDS)
def test_passwords_stay_when_switched_off(text: str) -> None:
    assert Scrubber(enabled=False).text(text) is text


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ('{"cookie":["a"],"level":"info"}', '{"cookie":"<scrubbed>","level":"info"}'),
        ('{"Authorization":"Basic YQ==","level":"info"}', '{"Authorization":"<scrubbed>","level":"info"}'),
        ('{"log":"Authorization: Basic YQ==","level":"i"}', '{"log":"Authorization: <scrubbed>","level":"i"}'),
        ('{"log":"Cookie: a=b\\r\\nHost: h"}', '{"log":"Cookie: <scrubbed>\\r\\nHost: h"}'),
        ("curl -H 'Cookie: a=\"b\"' http://h/", "curl -H 'Cookie: <scrubbed>' http://h/"),
        ('cookie="a" status=200', 'cookie="<scrubbed>" status=200'),
        ("Cookie: a=b\nHost: h", "Cookie: <scrubbed>\nHost: h"),
        ('{"password":{"value":"x"},"user":"bob"}', '{"password":<scrubbed>,"user":"bob"}'),
        ("password: |\n  a\n  b\nuser: bob", "password: <scrubbed>\nuser: bob"),
        ("- pass: |\n    a\n  user: bob", "- pass: <scrubbed>\n  user: bob"),
        ('{""token"":""x"",""app"":""a""}', '{""token"":<scrubbed>,""app"":""a""}'),
        ('{"name":"PWD","value":"x","kind":"env"}', '{"name":"PWD","value":<scrubbed>,"kind":"env"}'),
    ],
)
def test_what_stands_behind_a_value_stays(text: str, scrubbed: str) -> None:
    assert Scrubber().text(text) == scrubbed


@pytest.mark.parametrize("key", ["Cookie", "http.request.header.authorization", "set_cookie", "requestCookies"])
def test_names_of_headers_are_names_of_secrets(key: str) -> None:
    assert names_header(key)
    assert looks_secret(key)
    assert not names_header("token")


nested = st.recursive(
    st.just(f"sid={SECRET}"),
    lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, min_size=1),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(nested, st.integers(1, 3), st.sampled_from(["Cookie", "http_authorization", "set-cookie", "password"]))
def test_however_deep_in_json_within_json(value: object, levels: int, name: str) -> None:
    text = json.dumps({"a": {name: value}, "level": "info"})
    for _ in range(levels - 1):
        text = json.dumps({"log": text})
    scrubbed = Scrubber().text(text)
    assert SECRET not in scrubbed
    assert "info" in scrubbed
    assert SECRET not in Scrubber().text(f'a,"{text.replace(chr(34), chr(34) * 2)}",b')


pieces = st.sampled_from([*"\\\"'[]{}=:;,|> \n", "\\n", "cookie", "pass", "password", "name", "value", '""', MARK, "x"])


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=25).map("".join))
def test_any_text_can_be_judged_and_no_prefilter_passes_one_over(text: str) -> None:
    every = str(Scrubber()._applied(RULES, pl.Series([text], dtype=pl.String))[0])
    assert Scrubber().text(text) == every
    assert Scrubber().series(pl.Series([text], dtype=pl.String)).to_list() == [every]


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "cookie",
            "cookie:",
            '"password":[',
            '"value":"',
            "password: |\n ",
            "name:cookie",
            "pass\\",
            'cookie"',
            "cookie: '",
        ),
        *(
            "\\" * 5,
            '"cookie',
            "pass='",
            "name=pass value",
            "cookie:\\n",
            "[cookie,'",
            "${A}",
            "password: ${A}:",
            "cookie =",
        ),
    ],
)
def test_the_cost_stays_small_on_hostile_texts(piece: str) -> None:
    started = time.process_time()
    Scrubber().text("cookie " + piece * (16_384 // len(piece)))
    assert time.process_time() - started < 1.0

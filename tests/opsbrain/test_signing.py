from __future__ import annotations

import pytest

from engine.errors import ConfigError
from opsbrain.notify.signing import parse_secret, sign, verify

# The specification's own example.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
BODY = b'{"test": 2432232314}'
NOW = 1_614_265_330


def headers(*secrets: str) -> dict[str, str]:
    return sign([parse_secret(one) for one in secrets], "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW, BODY)


def test_the_signature_is_that_of_the_specification():
    assert headers(SECRET)["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_during_rotation_either_secret_verifies():
    both = headers(SECRET, OTHER)
    for secret in (SECRET, OTHER):
        assert verify([parse_secret(secret)], both, BODY, NOW).ok
    assert verify([parse_secret(OTHER), parse_secret(SECRET)], headers(SECRET), BODY, NOW).ok


def test_header_names_may_be_in_any_case():
    assert verify([parse_secret(SECRET)], {k.title(): v for k, v in headers(SECRET).items()}, BODY, NOW).ok


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"webhook-id": "another"}, "no signature"),
        ({"webhook-timestamp": str(NOW + 1)}, "no signature"),
        ({"webhook-timestamp": str(NOW - 301)}, "more than 300 s"),
        ({"webhook-timestamp": "-5"}, "not a number"),
        ({"webhook-timestamp": "²"}, "not a number"),
        ({"webhook-signature": "v1,AAAA"}, "no signature"),
        ({"webhook-signature": "v1,\xe9"}, "no signature"),
        ({"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}, "no signature"),
        ({"webhook-signature": ""}, "header missing: webhook-signature"),
    ],
)
def test_what_was_tampered_with_is_refused_with_a_reason(change, why):
    check = verify([parse_secret(SECRET)], headers(SECRET) | change, BODY, NOW)
    assert not check.ok and why in check.reason


def test_another_body_is_refused():
    assert not verify([parse_secret(SECRET)], headers(SECRET), BODY + b" ", NOW).ok
    assert not verify([], headers(SECRET), BODY, NOW).ok


@pytest.mark.parametrize("bad", ["abc", "whsec_", "whsec_???", "whsec_QUFB", "whsec_" + "QUFB" * 30])
def test_a_bad_secret_is_refused_and_not_shown(bad):
    with pytest.raises(ConfigError, match=r"^notify\.webhooks\.x\.secrets: ") as caught:
        parse_secret(bad, "notify.webhooks.x.secrets")
    assert bad.removeprefix("whsec_") not in str(caught.value) or not bad.removeprefix("whsec_")


def test_the_snippet_in_the_docs_verifies_what_we_sign():
    import re
    from pathlib import Path
    from typing import Any

    page = (Path(__file__).resolve().parents[2] / "docs" / "notifications.md").read_text()
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], names)
    assert names["signature_holds"](SECRET, headers(OTHER, SECRET), BODY)
    assert not names["signature_holds"](SECRET, headers(OTHER), BODY)

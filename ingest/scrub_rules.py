"""What counts as a secret or as personal data in text: the rules that are on by default.

Patterns are in the syntax of Rust's `regex`: linear time on any input, so no look-around. Kinds with a check digit or
with exceptions are judged in Python, match by match. All rules see only the few texts that the prefilter picks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from engine.redaction import SCRUBBED as MARK
from ingest.check_digits import IBAN_CHARS, digits_of, valid_card, valid_iban, valid_nhs_number
from ingest.scrub_values import header_value, secret_value, taking


class Rule(NamedTuple):
    """Replaces what `pattern` finds; what it finds counts as `kind`.

    Only texts that hold one of `literals` (in any case; none means all texts) are looked at.
    """

    kind: str
    literals: tuple[str, ...]
    pattern: str
    replacement: str


class Judged(NamedTuple):
    """Has `judge` replace in texts that hold one of `literals`; it returns the text and how many it found."""

    kind: str
    literals: tuple[str, ...]
    judge: Callable[[str], tuple[str, int]]


AnyRule = Rule | Judged

SECRET_KEY: Final = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_\-]?key|access[_\-]?key|account[_\-]?key|private[_\-]?key"
    r"|credentials?|x-amz-signature)"
)
_BASE64: Final = r"[A-Za-z0-9+/_.~\-]"

_KEYS: Final = ("passw", "passphrase", "pwd", "secret", "token", "key", "credential", "x-amz-signature")
# secrets, where what they name looks like one, and where something may be named
_WEAK: Final = "(?:pass|auth|dsn)"
_NAMING: Final = r"""(?:["'\\]|[ \t\r\n]{0,9}[:=]|[ \t]{0,9}\r?\n|,?[ \t]{0,9}val)"""
HEADER_KEY: Final = r"(?:authorization|cookies?)"

HEADER: Final = Judged(
    "header",
    ("authorization", "cookie"),
    taking(
        rf"{HEADER_KEY}(?:[_\-. ]?(?:headers?|values?|strings?|jar))?(?:\[[0-9]{{1,3}}\]|\.[0-9]{{1,3}})?",
        header_value,
        keeps_quotes=True,
    ),
)
"""Authorization and cookie headers: never kept, whatever the settings say."""

SECRETS: Final[tuple[AnyRule, ...]] = (  # in order: a header as a whole, before what is in it
    HEADER,
    Rule(
        "private key",
        ("private key",),
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
        MARK,
    ),
    Rule("jwt", ("eyj",), r"\beyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]*", MARK),
    Rule(
        "bearer",
        ("bearer ", "basic "),
        rf"(?i:\b(bearer|basic))( +){_BASE64}*(?:[0-9=]|[a-z][A-Z]){_BASE64}{{4,}}=*",
        "${1}${2}" + MARK,
    ),
    Rule(
        "provider key",
        ("akia", "asia", "aroa", "aida", "agpa", "anpa"),
        r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}\b",
        MARK,
    ),
    Rule(
        "provider key",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "aiza", "npm_", "hf_", "whsec_"),
        r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|xox[abeprs]-[A-Za-z0-9\-]{10,}"
        r"|AIza[0-9A-Za-z_\-]{35}|npm_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{30,}|whsec_[A-Za-z0-9+/=]{16,})",
        MARK,
    ),
    Rule(
        "provider key",
        ("sk_", "sk-", "rk_", "rk-", "glpat-"),
        r"\b(?:sk|rk)[_\-](?:live|test|proj|ant)[_\-][A-Za-z0-9_\-]{16,}|\bglpat-[A-Za-z0-9_\-]{16,}",
        MARK,
    ),
    Rule("provider key", ("hooks.slack",), r"(hooks\.slack\.com/(?:services|workflows)/)[A-Za-z0-9/]+", "${1}" + MARK),
    # a password may have an @
    Rule("url", ("://",), r"""(://)[^\s/:@<]*:[^\s/@<]+@(?:[^\s/@<"',;?&=#:]+@)*""", "${1}" + MARK + "@"),
    Judged(
        "password",
        (*_KEYS, "pass", "auth", "dsn"),
        taking(rf"{SECRET_KEY}|(?<![A-Za-z0-9])(?P<weak>{_WEAK})(?={_NAMING})", secret_value, keeps_quotes=False),
    ),
    Rule(
        "password",  # a list of arguments
        _KEYS,
        rf"""(?i)(["']--?[\w\-]*{SECRET_KEY}\\?["']\s*,\s*\\?["'])[^"'\\$<\-][^"'\\]*""",
        "${1}" + MARK,
    ),
    Rule(
        "password",
        _KEYS,
        rf"""(?i)(^|[^\w\-])(--?[\w\-]*{SECRET_KEY})( +)[^\s\-<][^\s"'<]*""",
        "${1}${2}${3}" + MARK,
    ),
)


def _judge(pattern: str, accept: Callable[[str], bool]) -> Callable[[str], tuple[str, int]]:
    """Return a judge that takes out what the group `number` of `pattern` finds where `accept` agrees."""
    compiled = re.compile(pattern, re.ASCII)

    def judge(text: str) -> tuple[str, int]:
        pieces: list[str] = []
        done = 0
        for found in compiled.finditer(text):
            start, end = found.span("number")
            if accept(found["number"]):
                pieces += text[done:start], MARK
                done = end
        return ("".join((*pieces, text[done:])), len(pieces) // 2) if pieces else (text, 0)

    return judge


_BEFORE: Final = r"(?<![\w\-.])"  # no part of a longer number, of a UUID, of a version
_AFTER: Final = r"(?![\w\-]|\.\d)"
_START: Final = r"(?:^|[^0-9A-Za-z_.\-])"  # the same for a language without look-around

_CARD: Final = (
    r"(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6011|64[4-9][0-9]|6[25][0-9]{2}|35[2-8][0-9])(?:[ \-]?[0-9]{4}){3}"
    r"|3[47][0-9]{2}[ \-]?[0-9]{6}[ \-]?[0-9]{5}|3(?:0[0-5]|[68][0-9])[0-9][ \-]?[0-9]{6}[ \-]?[0-9]{4}|4[0-9]{12}"
)
_CARD_KIND: Final = Judged("card", (), _judge(f"{_BEFORE}(?P<number>{_CARD}){_AFTER}", valid_card))

_PATIENT: Final = r"(?:nhs|patient|mrn|medical[ _\-]?record)"
_NUMBER: Final = r"(?:[ _\-]?(?:number|num|no|nr|id|ref))?"
_ANNOUNCED: Final = rf"""(?i:{_PATIENT}{_NUMBER}\\?["']?\s{{0,3}}[:=#]?\s{{0,3}}\\?["']?)"""
_THREES: Final = r"[0-9]{3}[ \-][0-9]{3}[ \-][0-9]{4}"
_GIVEN: Final = rf"{_ANNOUNCED}(?P<number>(?:[A-Za-z]{{1,3}}-?)?[0-9]{{5,12}}|{_THREES}){_AFTER}"
_PATIENT_KIND: Final = Judged(
    "patient", ("nhs", "patient", "mrn", "medical"), _judge(rf"(?<![a-zA-Z]){_GIVEN}", lambda number: True)
)
_NHS_KIND: Final = Judged("patient", (), _judge(f"{_BEFORE}(?P<number>{_THREES}){_AFTER}", valid_nhs_number))

_SSN: Final = r"[0-9]{3}-[0-9]{2}-[0-9]{4}"
_SSN_KIND: Final = Judged(
    "ssn",
    (),
    # what the Social Security Administration never issues is something else
    _judge(rf"{_BEFORE}(?P<number>(?!000|666|9){_SSN}){_AFTER}", lambda ssn: ssn[4:6] != "00" and ssn[7:] != "0000"),
)

_PHONE: Final = r"\+?\(?[0-9][0-9 ().\-]{5,18}[0-9]"
_CALLED: Final = rf"""(?i:(?:(?:tele)?phone|tel|mobile|msisdn|fax){_NUMBER})\\?["']?\s{{0,3}}[:=]\s{{0,3}}\\?["']?"""
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ADDRESS: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


def _is_phone(number: str) -> bool:
    return 7 <= len(digits_of(number)) <= 15 and not (_DATE.match(number) or _ADDRESS.match(number))


_PHONE_KIND: Final = Judged(
    "phone",
    ("phone", "tel", "mobile", "msisdn", "fax"),
    _judge(rf"(?<![a-zA-Z])(?:{_CALLED})(?P<number>{_PHONE})(?![\w\-]|\.\d)", _is_phone),
)

_IBAN: Final = r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4} ?[A-Z0-9]{3}"
_IBAN_START: Final = re.compile(r"(?<![A-Za-z0-9_\-.])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,29}")


def _ibans(text: str) -> tuple[str, int]:
    """Take out IBANs, whose country says how long they are; words in capitals may follow."""
    found = 0

    def judge(match: re.Match[str]) -> str:
        nonlocal found
        given, chars = match[0], IBAN_CHARS.get(match[0][:2], 0)
        end = next((at for at in range(len(given) + 1) if len(given[:at].replace(" ", "")) == chars), 0)
        follows = text[match.start() + end : match.start() + end + 1]
        if not end or follows.isalnum() or not valid_iban(given[:end].replace(" ", "")):
            return given
        found += 1
        return MARK + given[end:]

    return _IBAN_START.sub(judge, text), found


_IBAN_KIND: Final = Judged("iban", (), _ibans)

_DOMAIN: Final = re.compile(r"@(?:[A-Za-z0-9\-]{1,63}\.){1,9}([A-Za-z]{2,24})\b", re.ASCII)
_LOCAL: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"
# units of systemd are named `user@1000.service`, packages and pictures `lodash@4.17.21.tgz`, `logo@2x.png`
_NO_DOMAINS: Final = frozenset(
    {"service", "socket", "timer", "slice", "scope", "mount", "target", "device", "path", "swap", "automount"}
    | {"png", "jpg", "jpeg", "gif", "svg", "webp", "tgz", "js", "json", "jar"}
)


def _emails(text: str) -> tuple[str, int]:
    """Take out addresses: what may stand before an @, and a domain behind it (linear, whatever the text)."""
    pieces: list[str] = []
    done = 0
    for found in _DOMAIN.finditer(text):
        before = text[done : found.start()]
        kept = before.rstrip(_LOCAL)
        if len(kept) == len(before) or found[1].lower() in _NO_DOMAINS:
            continue
        pieces += kept, MARK
        done = found.end()
    return ("".join((*pieces, text[done:])), len(pieces) // 2) if pieces else (text, 0)


_EMAIL_KIND: Final = Judged("email", ("@",), _emails)

PERSONAL: Final = (_CARD_KIND, _PATIENT_KIND, _NHS_KIND, _SSN_KIND, _IBAN_KIND, _PHONE_KIND, _EMAIL_KIND)

RULES: Final[tuple[AnyRule, ...]] = (*SECRETS, *PERSONAL)
KINDS: Final = tuple(dict.fromkeys(rule.kind for rule in RULES))
"""What can be switched off, `header` excepted."""

# One pass over all text, as an automaton that reads each byte once; what it does not pick holds nothing that a rule
# would find. Valid and of one meaning for Rust's `regex` and Python's `re`.
PREFILTER: Final = (
    r"(?i:passw|passphrase|pwd|secret|token|api[_\-]?key|(?:access|account)[_\-]?key|private[_\- ]?key|credential"
    r"|x-amz-sig|bearer |basic |authorization|cookie|hooks\.slack"
    r"|nhs|patient|mrn|medical.?record|(?:phone|tel|mobile|msisdn|fax)[ _\-]?[a-z]{0,6}[^0-9a-z]{1,13}[0-9])"
    rf"|(?:^|[^0-9A-Za-z])(?i:{_WEAK}{_NAMING})"
    r"|eyJ[A-Za-z0-9]|A(?:KIA|SIA|ROA|IDA|GPA|NPA)[A-Z0-9]|gh[pousr]_|github_pat_|xox[abeprs]-|AIza|glpat-|npm_|hf_|whsec_"
    r"|[sr]k[_\-](?:live|test|proj|ant)|@[A-Za-z0-9\-]+\.|://[^\s/:@]*:[^\s/@]+@"
    rf"|{_START}(?:{_CARD}|{_THREES}|{_SSN}|{_IBAN})"
)

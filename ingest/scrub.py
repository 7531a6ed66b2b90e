"""Takes secrets and personal data out of text, at decode: nothing unscrubbed goes further.

Finds: authorization and cookie headers, bearer and basic credentials, JWTs, `password=...` and its kin, AWS and other
provider keys, private keys, credentials in URLs, e-mail addresses, card numbers (with a valid check digit). Blind to:
names, addresses, and secrets that nothing announces. A found value becomes `<scrubbed>`; its key stays.

Cost: one pass of a prefilter over all text; the rules see only the lines it picks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from engine.redaction import SCRUBBED as MARK

Rule = tuple[str, str, str]

_SECRET_KEY: Final = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_\-]?key|access[_\-]?key|private[_\-]?key|credentials?)"
)
# quoted, with escapes in it or itself escaped, or up to what ends a word; `$(NAME)` and `${NAME}` refer to a secret
# and are none
_QUOTED: Final = r""""(?:[^"\\$]|\\.|\$[^({"])+\$?"|'(?:[^'\\$]|\\.|\$[^({'])+\$?'|\\?"[^"$]+"|\\?'[^'$]+'"""
_VALUE: Final = "(?:" + _QUOTED + r"""|(?:[^\s"'&,;<>)}\]$]|\$[^\s"'&,;<>)}\]({])[^\s"'&,;<>)}\]]*)"""
_BASE64: Final = r"[A-Za-z0-9+/_.~\-]"

# (name, pattern, replacement) in order, in the syntax of Rust's `regex`: linear time on any input, so no look-around.
_RULES: Final[tuple[Rule, ...]] = (
    (
        "private key",
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
        MARK,
    ),
    ("jwt", r"\beyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]*", MARK),
    (
        "header",
        r"""(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\\?["']?\s*[:=]\s*\\?["']?)[^\s<"'\\\]})][^\r\n"'\\]*""",
        "${1}${2}" + MARK,
    ),
    (
        "bearer",
        rf"(?i:\b(bearer|basic))( +){_BASE64}*(?:[0-9=]|[a-z][A-Z]){_BASE64}{{4,}}=*",
        "${1}${2}" + MARK,
    ),
    ("provider key", r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}\b", MARK),
    ("provider key", r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|xox[abprs]-[A-Za-z0-9\-]{10,}|AIza[0-9A-Za-z_\-]{35})", MARK),
    (
        "provider key",
        r"\b(?:sk|rk)[_\-](?:live|test|proj|ant)[_\-][A-Za-z0-9_\-]{16,}|\bglpat-[A-Za-z0-9_\-]{16,}",
        MARK,
    ),
    ("url", r"""(://)[^\s/:@<]*:[^\s/@<]+@(?:[^\s/@<"',;?&=#:]+@)*""", "${1}" + MARK + "@"),  # a password may have an @
    ("email", r"[A-Za-z0-9._%+\-]+@(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,}\b", MARK),
    (
        "password",
        rf"""(?i)\b([\w.\-]*{_SECRET_KEY})(\\?["']?\s*[:=]\s*){_VALUE}""",
        "${1}${2}" + MARK,
    ),
    (
        "password",  # a list of arguments
        rf"""(?i)(["']--?[\w\-]*{_SECRET_KEY}\\?["']\s*,\s*\\?["'])[^"'\\$<\-][^"'\\]*""",
        "${1}" + MARK,
    ),
    ("password", rf"""(?i)(^|\s)(--?[\w\-]*{_SECRET_KEY})( +)[^\s\-<][^\s"'<]*""", "${1}${2}${3}" + MARK),
)

_CREDENTIALS: Final = tuple(rule for rule in _RULES if rule[0] != "email")

_CARD: Final = r"(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d)(?:[ \-]?\d{4}){3}|3[47]\d\d[ \-]?\d{6}[ \-]?\d{5}|4\d{12}"
_CARD_ALONE: Final = re.compile(rf"(?<![\w\-.])(?:{_CARD})(?![\w\-]|\.\d)")

# One pass over everything; what it does not pick holds nothing that a rule would find.
_PREFILTER: Final = (
    r"(?i:passw|passphrase|pwd|secret|token|api[_\-]?key|access[_\-]?key|private[_\- ]?key|credential)"
    r"|(?i:bearer |basic |authorization|cookie)"
    r"|eyJ[A-Za-z0-9]|A(?:KIA|SIA|ROA|IDA|GPA|NPA)[A-Z0-9]|gh[pousr]_|xox[abprs]-|AIza|glpat-|[sr]k[_\-][lpta]|@[A-Za-z0-9\-]+\.|://[^\s/:@]*:[^\s/@]+@"
    rf"|{_CARD}"
)
_PREFILTER_PY: Final = re.compile(_PREFILTER)


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Takes secrets out and counts them by kind in `counts`; one an input format."""

    counts: Counter[str] = field(default_factory=Counter, compare=False)

    def series(self, texts: pl.Series) -> pl.Series:
        """Return `texts` without secrets: same length, order and name; null stays null."""
        return scrub_series(texts, self.counts)

    def names(self, names: pl.Series) -> pl.Series:
        """Return names, few and often repeated, without secrets: each is looked at (and counted) once."""
        return scrub_names(names, self.counts)

    def text(self, text: str) -> str:
        """Return one text without secrets."""
        return scrub(text, self.counts)

    def credentials(self, text: str) -> str:
        """Return one text of a manifest without credentials; addresses and numbers stay."""
        return scrub_credentials(text, self.counts)


def scrub_series(texts: pl.Series, counts: Counter[str] | None = None) -> pl.Series:
    """Return `texts` without secrets: same length, order and name, null stays null; adds to `counts` what was found."""
    picked = texts.str.contains(_PREFILTER).fill_null(False)
    if not picked.any():
        return texts
    places = picked.arg_true()
    return texts.scatter(places, _apply(texts.gather(places), counts))


def scrub_names(names: pl.Series, counts: Counter[str] | None = None) -> pl.Series:
    """Return names, few and often repeated, without secrets: each is looked at (and counted) once."""
    distinct = names.drop_nulls().unique().sort()
    scrubbed = scrub_series(distinct.clone(), counts)  # scatter writes into the series that it is called on
    changed = distinct != scrubbed
    if not changed.any():
        return names
    return names.replace(distinct.filter(changed), scrubbed.filter(changed))


def scrub(text: str, counts: Counter[str] | None = None) -> str:
    """Return one text without secrets; adds to `counts` what was found.

    >>> scrub("login with password=hunter2 from 10.0.0.1")
    'login with password=<scrubbed> from 10.0.0.1'
    """
    if not _PREFILTER_PY.search(text):
        return text
    return str(_apply(pl.Series([text], dtype=pl.String), counts)[0])


def scrub_credentials(text: str, counts: Counter[str] | None = None) -> str:
    """Return one text of a manifest without credentials; addresses and numbers are configuration there, and stay."""
    if not _PREFILTER_PY.search(text):
        return text
    return str(_replace(pl.Series([text], dtype=pl.String), _CREDENTIALS, counts)[0])


def asks_for_secret(argument: str) -> bool:
    """Return whether an argument of a command says that the next one is a secret, as `--password` does."""
    return bool(_SECRET_FLAG.fullmatch(argument))


def looks_secret(key: str) -> bool:
    """Return whether what is kept under this key (of an environment, of a configuration) is likely a secret."""
    return bool(_SECRET_NAME.search(key))


_SECRET_FLAG: Final = re.compile(rf"(?i)--?[\w\-]*{_SECRET_KEY}")
_SECRET_NAME: Final = re.compile(rf"(?i){_SECRET_KEY}s?$|(?i:^|[_.\-])(?i:pass|auth|dsn)$")


def _apply(texts: pl.Series, counts: Counter[str] | None) -> pl.Series:
    return _replace(_without_cards(texts, counts), _RULES, counts)


def _replace(texts: pl.Series, rules: Sequence[Rule], counts: Counter[str] | None) -> pl.Series:
    for name, pattern, replacement in rules:
        found = int(texts.str.count_matches(pattern).sum() or 0)
        if found:
            texts = texts.str.replace_all(pattern, replacement)
            if counts is not None:
                counts[name] += found
    return texts


def _without_cards(texts: pl.Series, counts: Counter[str] | None) -> pl.Series:
    places = texts.str.contains(_CARD).fill_null(False).arg_true()
    if not len(places):
        return texts
    counter: Counter[str] = Counter() if counts is None else counts

    def judge(found: re.Match[str]) -> str:
        if not _valid_card(found[0]):
            return found[0]
        counter["card"] += 1
        return MARK

    return texts.scatter(places, pl.Series([_CARD_ALONE.sub(judge, text) for text in texts.gather(places)]))


def _valid_card(text: str) -> bool:
    """Whether the digits end in their check digit (H. P. Luhn, US patent 2,950,048, 1960)."""
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0

"""Takes secrets and personal data out of text, at decode: nothing unscrubbed goes further.

On by default: authorization and cookie headers, bearer and basic credentials, JWTs, `password=...` and its kin, keys of
cloud and other providers, private keys, credentials in URLs; e-mail addresses, card numbers, IBANs, NHS and announced
patient numbers, US social security numbers, announced telephone numbers. Numbers with a check digit must have the right
one. Blind to: names, addresses, and secrets that nothing announces. A found value becomes `<scrubbed>`; its key stays.

Cost: one pass of a prefilter over all text (a fifth of a microsecond a line of 120 characters); the rules see only the
lines it picks. Each rule of one's own is one more pass.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from engine.errors import ConfigError
from engine.redaction import SCRUBBED as MARK
from engine.redaction import hashed
from engine.types import Ints
from ingest.bytes_shown import shown
from ingest.scrub_rules import HEADER, HEADER_KEY, KINDS, PERSONAL, PREFILTER, RULES, SECRET_KEY, AnyRule, Rule

# For one text in Python, where a set of literals is sought faster than an automaton runs: what holds none of these
# holds nothing that the prefilter would pick.
_LITERALS: Final = (
    *("pass", "auth", "dsn", "pwd", "secret", "token", "key", "credential", "bearer ", "basic "),
    *("cookie", "x-amz", "slack", "nhs", "patient", "mrn", "medical", "phone", "tel", "mobile", "msisdn", "fax", "@"),
    *("eyj", "akia", "asia", "aroa", "aida", "agpa", "anpa", "gh", "xox", "aiza", "glpat", "npm_", "hf_", "whsec"),
    *("sk_", "sk-", "rk_", "rk-"),
)
_NUMBERS: Final = re.compile(r"[0-9]{3}[ \-]?[0-9]{2}|[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4}")
_PREFILTER_PY: Final = re.compile(PREFILTER)


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Takes secrets out and counts them by kind in `counts`; one an input format.

    own       patterns by name, in the syntax of Rust's `regex`: all that they find is taken out
    off       kinds that are left in; authorization and cookie headers are never
    enabled   False leaves everything in but those headers

    Raises ConfigError when a pattern does not compile or finds the empty text, or a kind is not known.

    >>> Scrubber().text("login with password=hunter2 from 10.0.0.1")
    'login with password=<scrubbed> from 10.0.0.1'
    """

    own: Mapping[str, str] = field(default_factory=dict)
    off: tuple[str, ...] = ()
    enabled: bool = True
    counts: Counter[str] = field(default_factory=Counter, compare=False)
    _rules: tuple[AnyRule, ...] = field(init=False, repr=False, compare=False)
    _own: tuple[Rule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, pattern in self.own.items():
            _check(name, pattern)
        for kind in self.off:
            _check_kind(kind, self.own)
        own = tuple(Rule(name, (), pattern, MARK) for name, pattern in self.own.items() if name not in self.off)
        known = tuple(rule for rule in RULES if rule.kind not in self.off)
        object.__setattr__(self, "_own", own if self.enabled else ())
        object.__setattr__(self, "_rules", (*known, *own) if self.enabled else (HEADER,))

    def series(self, texts: pl.Series) -> pl.Series:
        """Return `texts` without secrets: same length, order and name; null stays null."""
        picked = self._picked(texts)
        if not picked.any():
            return texts
        # scatter writes into the series that it is called on: a copy of it costs nothing
        return texts.clone().scatter(_places(picked), self._applied(self._rules, texts.filter(picked)))

    def names(self, names: pl.Series) -> pl.Series:
        """Return names, few and often repeated, without secrets: each is looked at (and counted) once."""
        distinct = names.drop_nulls().unique().sort()
        scrubbed = self.series(distinct)
        changed = distinct != scrubbed
        if not changed.any():
            return names
        return names.replace(distinct.filter(changed), scrubbed.filter(changed))

    def name(self, name: str) -> str:
        """Return a name, or a hash of it where it holds a secret: what was two must stay two."""
        return name if self.text(name) == name else hashed(name)

    def text(self, text: str) -> str:
        """Return one text without secrets; the very same object where there are none."""
        return self._text(text, self._rules)

    def bodies(self, bodies: Sequence[bytes]) -> list[str]:
        """Return bytes, text or not, as text without secrets that is safe to be shown."""
        texts: list[str] = []
        for body in bodies:
            text, found = shown(body, self.enabled)
            texts.append(text)
            if found:
                self.counts["binary"] += found
        return self.series(pl.Series(texts, dtype=pl.String)).to_list()

    def credentials(self, text: str) -> str:
        """Return one text of a manifest without credentials; addresses and numbers are configuration, and stay."""
        return self._text(text, [rule for rule in self._rules if rule not in PERSONAL])

    def _picked(self, texts: pl.Series) -> pl.Series:
        picked = texts.str.contains(PREFILTER)
        for rule in self._own:
            picked |= texts.str.contains(rule.pattern)
        return picked

    def _text(self, text: str, rules: Iterable[AnyRule]) -> str:
        if not (self._own or _may_hold_secrets(text)):
            return text
        scrubbed = str(self._applied(rules, pl.Series([text], dtype=pl.String))[0])
        return text if scrubbed == text else scrubbed

    def _applied(self, rules: Iterable[AnyRule], texts: pl.Series) -> pl.Series:
        """Return `texts`, which may be written into, after all rules in their order."""
        folded = [text.casefold() for text in texts]
        for rule in rules:
            places = [at for at, text in enumerate(folded) if _holds(rule, text)]
            if places:
                changed, found = _replaced(rule, texts.gather(places))
                if found:
                    self.counts[rule.kind] += found
                    texts = texts.scatter(places, changed)
        return texts


def asks_for_secret(argument: str) -> bool:
    """Return whether an argument of a command says that the next one is a secret, as `--password` does."""
    return bool(_SECRET_FLAG.fullmatch(argument))


def names_header(key: str) -> bool:
    """Return whether what is kept under this key is an authorization or cookie header, which never stays."""
    return bool(_HEADER_NAME.search(key))


def looks_secret(key: str) -> bool:
    """Return whether what is kept under this key (of an environment, of a configuration) is likely a secret."""
    return bool(_SECRET_NAME.search(key))


_SECRET_FLAG: Final = re.compile(rf"(?i)--?[\w\-]*{SECRET_KEY}")
_HEADER_NAME: Final = re.compile(rf"(?i){HEADER_KEY}$")
_SECRET_NAME: Final = re.compile(rf"(?i){SECRET_KEY}s?$|{HEADER_KEY}$|(?i:^|[_.\-])(?i:pass|auth|dsn)$")


def _may_hold_secrets(text: str) -> bool:
    folded = text.casefold()
    if not (any(literal in folded for literal in _LITERALS) or _NUMBERS.search(text)):
        return False
    return _PREFILTER_PY.search(text) is not None


def _holds(rule: AnyRule, folded: str) -> bool:
    return not rule.literals or any(literal in folded for literal in rule.literals)


def _replaced(rule: AnyRule, texts: pl.Series) -> tuple[pl.Series, int]:
    """Return texts without what the rule finds, and how many it found."""
    if isinstance(rule, Rule):
        found = int(texts.str.count_matches(rule.pattern).sum())
        return (texts.str.replace_all(rule.pattern, rule.replacement) if found else texts), found
    judged = [rule.judge(text) for text in texts]
    return pl.Series([text for text, _ in judged], dtype=pl.String), sum(found for _, found in judged)


def _places(picked: pl.Series) -> Ints:
    return np.flatnonzero(picked.fill_null(False) if picked.has_nulls() else picked)


def _check(name: str, pattern: str) -> None:
    if name in KINDS:
        raise ConfigError(f"scrub.rules.{name}: is the name of a rule that there is; choose another")
    try:
        finds_nothing = pl.Series([""]).str.contains(pattern)[0]
    except pl.exceptions.ComputeError as error:
        raise ConfigError(f"scrub.rules.{name}: not in the syntax of Rust's `regex`: {_said(error)}") from error
    if finds_nothing:
        raise ConfigError(f"scrub.rules.{name}: finds the empty text, and so would mark every place; ask for more")


def _said(error: Exception) -> str:
    """Return what is wrong with a pattern, without the drawing that shows where."""
    return str(error).rpartition("error: ")[2].partition("\n")[0]


def _check_kind(kind: str, own: Mapping[str, str]) -> None:
    if kind == HEADER.kind:
        raise ConfigError("scrub.off: authorization and cookie headers are never kept; leave 'header' out")
    if kind not in KINDS and kind not in own:
        kinds = ", ".join(one for one in KINDS if one != HEADER.kind)
        raise ConfigError(f"scrub.off: {kind!r} is no kind of secret; known are {kinds}")

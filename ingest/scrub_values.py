"""Finds how far a value goes whose name says that it is secret: a word, quotes, a list, a block, a line.

Names are announced in many ways: `name: value`, `name=value`, quoted as JSON, JSON within JSON or CSV quote them, as
the two halves of a pair (`{"name": ..., "value": ...}`), or as the first of two in a list. Where it is not certain how
far a value goes, it goes further: what is taken out too much is lost, what is left is a leak.

Every scan goes on where the last one ended, so that the cost is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from engine.redaction import SCRUBBED as MARK

_QUOTE: Final = r"""\\*(?:""|"|')"""
_SEPARATED: Final = re.compile(rf"(?P<quote>{_QUOTE})?\s*(?:=>|:=|[:=])\s*", re.ASCII)
_OPENING: Final = re.compile(r"""\\*["']""")
_MARKS: Final = re.compile(r"""(?<!\\)\\*["']|[\[\]{}]""")
_QUOTES: Final = re.compile(r"""[\r\n]|(?<!\\)\\*["']""")
_LINE_END: Final = re.compile(r"[\r\n]")
# a line's end as JSON writes it, where another header, or nothing, follows
_WRITTEN_END: Final = r"""(?<!\\)(?:\\+r)?\\+n(?=\\|["']|[A-Za-z0-9\-]+:|\Z)"""
_CLOSED: Final = re.compile(r"""\s*(?:\Z|[,}\])]|\\+[rn])""")
_LITERAL: Final = re.compile(
    r"(?i)(?:true|false|null|none|nil|<none>|<nil>|<null>|-|-?[0-9]{1,6})?(?=[ \t]*(?:\Z|[\r\n}\])]))", re.ASCII
)
_LITERAL_OF_JSON: Final = re.compile(r"(?i)(?:true|false|null|none|<scrubbed>)(?=\s*(?:\Z|[,}\])]))")
_NUMBER_OF_JSON: Final = re.compile(r"-?[0-9.eE+\-]+(?=\s*[,}\]])", re.ASCII)

_PAIR_NAME: Final = re.compile(
    rf"(?i)(?:name|key|header|field|variable)(?:{_QUOTE})?\s{{0,9}}(?:=>|[:=])\s{{0,9}}(?:{_QUOTE})?[\w.\-]*\Z",
    re.ASCII,
)
_PAIR_VALUE: Final = re.compile(
    rf"(?is)(?:{_QUOTE})?(?:(?!\bname\b|\bkey\b|valueFrom)[^{{}}\[\]]){{0,200}}?(?<![A-Za-z])(?:string_?)?val(?:ue)?s?"
    rf"(?P<quote>{_QUOTE})?\s*(?:=>|[:=])\s*",
    re.ASCII,
)
_LISTED: Final = re.compile(rf"(?P<quote>{_QUOTE})\s*,\s*b?(?=\\*[\"'])", re.ASCII)
_BLOCK: Final = re.compile(r"[|>][+\-0-9]{0,2}[ \t]*(?:#[^\r\n\\]*)?(?P<end>\r?\n|(?:\\+r)?\\+n)")
_INDENT: Final = re.compile(r"(?:\A|[\r\n]|\\n)([ \-]*)[\w.\-\"'\\]*\Z", re.ASCII)
_NEAR: Final = 200  # how far before a name is looked for what announces a pair


class Value(NamedTuple):
    """Where a value is: from `start` to `end`, its quotes included; what `quote` it has, whether it is bracketed."""

    start: int
    end: int
    quote: str = ""
    bracketed: bool = False


class Named(NamedTuple):
    """A name that was found, and how it announces a value: the text, the name, what separates them, the quote."""

    text: str
    name: re.Match[str]
    separator: str
    quote: str
    start: int


Take = Callable[[Named, "Enclosing"], Value | None]


def taking(names: str, take: Take, keeps_quotes: bool) -> Callable[[str], tuple[str, int]]:
    """Return what takes out the values of `names` (a pattern) as far as `take` says, and counts them."""
    name = re.compile(names, re.ASCII | re.IGNORECASE)
    reversed_pair = _reversed(names)

    def judge(text: str) -> tuple[str, int]:
        text, found = reversed_pair.subn(rf"\g<before>{MARK}\g<after>", text)
        pieces: list[str] = []
        done = at = 0
        enclosing = Enclosing(text)
        while match := name.search(text, at):
            at = match.end()
            for announced in _announced(text, match):
                value = take(announced, enclosing)
                if value is None:
                    continue
                start, end = value.start, value.end
                quote = value.quote if keeps_quotes else ""
                mark = f"{quote}{MARK}{quote}"
                if text[start:end] != mark:
                    pieces += text[done:start], mark
                    done = end
                at = end
                break
        return ("".join((*pieces, text[done:])), found + len(pieces) // 2) if pieces or found else (text, 0)

    return judge


def _reversed(names: str) -> re.Pattern[str]:
    """Return what finds `"value": "...", "name": "<name>"`, each in the same quotes, the value perhaps an object."""
    inside = r"(?<!\\)(?P<q>\\*[\"'])"
    plain = names.replace("?P<weak>", "?:")
    return re.compile(
        rf"(?is)(?P<before>{inside}values?(?P=q)\s*:\s*)(?!<scrubbed>)(?!(?P=q)<scrubbed>)"
        rf"(?:(?P=q)(?:(?!(?P=q)).){{1,2000}}(?P=q)|[\[{{][^{{}}]{{1,500}}[\]}}])"
        rf"(?P<after>\s*,\s*(?P=q)(?:name|key)(?P=q)\s*:\s*(?P=q)[\w.\-]{{0,100}}(?:{plain})(?P=q))",
        re.ASCII,
    )


def _announced(text: str, name: re.Match[str]) -> list[Named]:
    """Return how the name may announce a value: by itself, as the first half of a pair, as the first of two."""
    separated = _SEPARATED.match(text, name.end())
    if separated:
        return [Named(text, name, separated[0].strip("\\\"' \t\r\n"), separated["quote"] or "", separated.end())]
    if _PAIR_NAME.search(text, max(0, name.start() - _NEAR), name.start()):
        pair = _PAIR_VALUE.match(text, name.end())
        return [Named(text, name, "pair", pair["quote"] or "", pair.end())] if pair else []
    listed = _LISTED.match(text, name.end())
    return [Named(text, name, ",", listed["quote"], listed.end())] if listed else []


class Enclosing:
    """Follows which double quotes are open in a text; places must be asked for in ascending order."""

    def __init__(self, text: str) -> None:
        """Begin before the first character."""
        self._text = text
        self._at = 0
        self._open: list[str] = []

    def quote(self, place: int) -> str:
        """Return the innermost double quote, with its escapes, that is open at `place` of its line; "" if none."""
        for found in _QUOTES.finditer(self._text, self._at, place):
            self._at = found.end()
            self._see(found[0], found.start())
        return self._open[-1] if self._open else ""

    def _see(self, mark: str, start: int) -> None:
        if mark in "\r\n":
            self._open.clear()
        elif mark[-1] != '"':
            return
        elif mark in self._open:
            del self._open[self._open.index(mark) :]
        elif start == 0 or not self._text[start - 1].isalnum():
            self._open.append(mark)


def quoted(text: str, start: int, like: str = "") -> Value | None:
    """Return the value in quotes that begins at `start`, None where none does; `like` is how its name is quoted."""
    doubled = like.endswith('""') and text.startswith(like, start)
    found = None if doubled else _OPENING.match(text, start)
    if found is None and not doubled:
        return None
    quote = like if doubled else str(found and found[0])
    end = closing(text, start + len(quote), quote)
    return Value(start, end, quote)


def closing(text: str, start: int, quote: str) -> int:
    """Return where text ends that `quote` was opened for, the closing quote included; else where its line ends.

    Quotes that are opened within, though nobody escaped them (`a="x"`), are closed within too.
    """
    inner = False
    for found in re.compile(r"(?<!\\)\\*" + quote.lstrip("\\")).finditer(text, start):
        if not _closes(found[0], quote):
            continue
        opened = text[found.start() - 1] == "=" and found.start() > start and not _CLOSED.match(text, found.end())
        if inner or opened:
            inner = not inner
            continue
        return found.end()
    return line_end(text, start)


def _closes(found: str, quote: str) -> bool:
    escapes, own = found.count("\\"), quote.count("\\")
    return escapes % 2 == 0 if own == 0 else escapes <= own


def bracketed(text: str, start: int, quote: str) -> Value | None:
    """Return the list or object that begins at `start`, None where none does; one that is not closed takes all."""
    if text[start : start + 1] not in ("[", "{"):
        return None
    depth, string = 0, ""
    for found in _MARKS.finditer(text, start):
        mark = found[0]
        if string:
            string = "" if mark[-1] == string[-1] and _closes(mark, string) else string
        elif mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
            if depth == 0:
                return Value(start, found.end(), quote, bracketed=True)
        else:
            string = mark
    return Value(start, len(text), quote, bracketed=True)


def block(text: str, name_start: int, start: int) -> Value | None:
    """Return the lines of a YAML block (`|`, `>`) that begins at `start`, None where none does."""
    opened = _BLOCK.match(text, start)
    if opened is None:
        return None
    end = re.escape(opened["end"])
    before = _INDENT.search(text, max(0, name_start - _NEAR), name_start)
    deeper = len(before[1]) + 1 if before else 1
    line = r"[^\r\n]*" if opened["end"].endswith("\n") else rf"(?:(?!{end})(?:\\.|[^\"\\\r\n]))*"
    lines = re.compile(rf"(?:{end}(?: {{{deeper},}}{line}|[ \t]*(?={end}|\Z)))+").match(text, opened.start("end"))
    return Value(start, lines.end()) if lines and lines[0].strip("\\rn \t\r\n") else None


def line_end(text: str, start: int) -> int:
    """Return where the line ends that `start` is in."""
    found = _LINE_END.search(text, start)
    return found.start() if found else len(text)


def enclosed(text: str, start: int, quote: str) -> int:
    """Return where a value without quotes of its own ends: where its line does, or the `quote` around it closes."""
    end = line_end(text, start)
    if not quote:
        return end
    written = re.compile(_WRITTEN_END).search(text, start, end)
    closed = closing(text[:end], start, quote)
    if closed < end or text.endswith(quote, start, end):
        closed -= len(quote)
    return min(closed, written.start()) if written else closed


def header_value(said: Named, enclosing: Enclosing) -> Value | None:
    """Return the value of a header: all of it, whatever it is."""
    text, start = said.text, said.start
    if said.separator == ",":
        return _listed(said)
    if found := block(text, said.name.start(), start):
        return found
    if said.quote or said.separator == "pair":
        if _LITERAL_OF_JSON.match(text, start):
            return None
        found = quoted(text, start, said.quote) or bracketed(text, start, said.quote)
        if found is None and (number := _NUMBER_OF_JSON.match(text, start)):
            found = Value(start, number.end())
        if found:
            return found if found.end - found.start > 2 * len(found.quote) else None
    elif said.separator == "=" and (found := quoted(text, start)) and text[found.end : found.end + 1] != ";":
        return found if found.end - found.start > 2 * len(found.quote) else None
    return _to_the_end(said, enclosing)


def _to_the_end(said: Named, enclosing: Enclosing) -> Value | None:
    text, start, name = said.text, said.start, said.name.start()
    around = re.search(r"\\*'[\w.\-]*\Z", text[max(0, name - _NEAR) : name], re.ASCII)
    quote = around[0].rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") if around else ""
    end = enclosed(text, start, quote or enclosing.quote(name))
    if end <= start or _LITERAL.fullmatch(text[start:end].strip(" \t]})")):
        return None
    return Value(start, end) if text[start] not in "])}\"'\\" or text[start:end].strip("])}\"'\\ ;,.") else None


def _listed(said: Named) -> Value | None:
    """Return the second of two in a list; of more only where it looks like what a header says."""
    found = quoted(said.text, said.start, said.quote)
    if found is None or found.end - found.start <= 2 * len(found.quote):
        return None
    two = re.match(r"\s*[\])]", said.text[found.end : found.end + 9])
    first = re.search(
        r"[\[(]\s*b?\\*[\"']+[\w.\-]*\Z", said.text[max(0, said.name.start() - _NEAR) : said.name.start()]
    )
    content = said.text[found.start : found.end]
    return found if (two and first) or "=" in content or " " in content else None


_WORD: Final = re.compile(r"""[^\s"'&,;<>)}\]]+""")
_REFERENCE: Final = (
    r"\$\{\{[^}]*\}\}|\$\([^()]*\)|\$\{[\w.\-]+(?::?\?[^}]*|:?-?)\}"  # `${NAME:-default}` has a value in it
)
_REFERENCES: Final = re.compile(
    rf"(?:{_REFERENCE}|[\s:/._@\-])*(?:{_REFERENCE})(?:{_REFERENCE}|[\s:/._@\-])*", re.ASCII
)
_REFERS: Final = re.compile(rf"(?:{_REFERENCE})+(?![\w])", re.ASCII)
_NUMERIC: Final = re.compile(r"[0-9][0-9.,:/]{0,20}(?:%|[a-z]{1,2})?", re.ASCII)
_VERDICTS: Final = frozenset(
    {
        *("allowed", "anonymous", "auto", "basic", "bearer", "default", "denied", "digest", "disabled"),
        *("enabled", "error", "fail", "failed", "failure", "false", "granted", "invalid", "jwt"),
        *("ldap", "login", "md5", "mtls", "n", "nil", "no", "none", "null"),
        *("oauth", "oauth2", "off", "oidc", "ok", "on", "optional", "pass", "passed"),
        *("password", "peer", "pending", "plain", "required", "saml", "scram-sha-256", "skip", "skipped"),
        *("succeeded", "success", "successful", "tls", "token", "true", "trust", "undefined", "unknown"),
        *("valid", "y", "yes"),
    }
)
_LINE_START: Final = re.compile(r"(?:\A|[\r\n]|\\n)[ \t\-]*(?:[\w\-]+-)?\Z", re.ASCII)


def secret_value(said: Named, enclosing: Enclosing) -> Value | None:
    """Return the value of a name such as `password`: a word, unless it is quoted or bracketed; references are none."""
    text, start = said.text, said.start
    if said.separator == ",":
        return None
    weak = said.name["weak"]
    found = block(text, said.name.start(), start) or quoted(text, start, said.quote)
    if found:
        content = text[found.start + len(found.quote) : found.end - len(found.quote)]
        if not content or content == MARK or _REFERENCES.fullmatch(content):
            return None
        return found if not weak or _is_likely(said, content, bare=False) else None
    if said.quote and not weak and (found := bracketed(text, start, said.quote)):
        return found if text[found.start : found.end].strip("[]{} \t\r\n") else None
    word = _WORD.match(text, start)
    if word is None or _REFERS.match(text, start) or (weak and said.quote and said.separator != "pair"):
        return None
    found = Value(start, word.end())
    return found if not weak or _is_likely(said, word[0], bare=said.separator == ":") else None


def _is_likely(said: Named, content: str, bare: bool) -> bool:
    """Return whether what is kept under `pass`, `auth` or `dsn` is a secret: they also say what came of a test."""
    text, name = said.text, said.name
    if name[0].lower() == "dsn":
        return "@" in content
    before = text[name.start() - 1 : name.start()]
    if content.lower() in _VERDICTS or content[0] in "=[{<" or not re.search(r"\w", content):
        return False
    if _NUMERIC.fullmatch(content):
        return before == "_" and name[0].isupper() and content.isdigit() and len(content) > 3
    if not bare or before in ("_", "."):
        return True
    alone = _LINE_START.search(text[max(0, name.start() - _NEAR) : name.start()]) is not None
    rest = text[said.start : line_end(text, said.start)].split("\\n")[0].rstrip(" \"'")
    return alone and not name[0].isupper() and rest == content and not content.isalpha()

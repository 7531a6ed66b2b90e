"""Reads settings: file, then environment, then flags, each overriding the one before; anything unknown is refused.

opsbrain.toml                 [pipeline]
                              quiet_s = 900
environment                   OPSBRAIN_PIPELINE__QUIET_S=900
flag                          --set pipeline.quiet_s=900
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from engine.errors import ConfigError
from opsbrain.secrets import Secret
from opsbrain.settings import SECURITY_KEYS, Settings
from opsbrain.settings_pull import pull_contradictions

T = TypeVar("T")

_PREFIX = "OPSBRAIN_"


def load_settings(file: Path | None, env: Mapping[str, str], flags: Sequence[str] = ()) -> Settings:
    """Return the settings, or raise ConfigError that names the first key that is wrong and where it was set.

    `flags` are `section.key=value` texts. Variables of `env` count whose name begins with OPSBRAIN_ and holds `__`.
    """
    tree: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if file is not None:
        table = _read_toml(file)
        _refuse_unknown(Settings, table, (), str(file))
        _note_origin(table, (), str(file), origin)
        tree = table
    for path, text, where in (*_from_env(env), *_from_flags(flags)):
        declared = _type_at(path, where)
        _put(tree, path, _parse(declared, text), where)
        _refuse_unknown(Settings, _nested(path, _parse(declared, text)), (), where)
        origin[".".join(path)] = where
    return _checked(_convert(Settings, tree, "", origin), origin)


def convert_options(of: type[T], options: Mapping[str, Any], key: str) -> T:
    """Return the config dataclass `of` built from a free table of settings; `key` names the table in errors."""
    _refuse_unknown(of, options, (), "settings", root=key)
    return _convert(of, dict(options), key, {})


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot read settings: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: settings are not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error


def _from_env(env: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    for name in sorted(env):
        if name.startswith(_PREFIX) and "__" in name:
            yield tuple(name.removeprefix(_PREFIX).lower().split("__")), env[name], f"environment {name}"


def _from_flags(flags: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    for flag in flags:
        name, equals, text = flag.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {flag}: expected SECTION.KEY=VALUE, as pipeline.quiet_s=900")
        yield tuple(name.strip().split(".")), text, f"--set {name.strip()}"


def _type_at(path: tuple[str, ...], where: str) -> Any:
    """Return the declared type of the key at `path`, or raise ConfigError that suggests what was meant."""
    declared: Any = Settings
    for depth, name in enumerate(path):
        if dataclasses.is_dataclass(declared):
            hints = get_type_hints(declared)
            if name not in hints:
                raise _unknown(path[: depth + 1], list(hints), where)
            declared = hints[name]
        elif get_origin(declared) is dict:
            declared = get_args(declared)[1]
        elif declared is not Any:
            raise ConfigError(f"{where}: {'.'.join(path[:depth])} is a single value and has no keys")
    return declared


def _parse(declared: Any, text: str) -> Any:
    """Read a value from the environment or a flag: plain text where text is wanted, else as TOML would."""
    if declared in (str, Secret, Path):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return dict(value)


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any, where: str) -> None:
    for name in path[:-1]:
        below = tree.setdefault(name, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{where}: {name} is set to a single value elsewhere")
        tree = below
    tree[path[-1]] = value


def _note_origin(value: Any, path: tuple[str, ...], where: str, origin: dict[str, str]) -> None:
    origin[".".join(path)] = where
    if isinstance(value, Mapping):
        for name, below in value.items():
            _note_origin(below, (*path, name), where, origin)


def _refuse_unknown(of: Any, value: Any, path: tuple[str, ...], where: str, root: str = "") -> None:
    """Raise ConfigError for the first key that `of` does not declare."""
    if dataclasses.is_dataclass(of) and isinstance(value, Mapping):
        hints = get_type_hints(of)
        for name, below in value.items():
            if name not in hints:
                raise _unknown((*([root] if root else []), *path, name), list(hints), where)
            _refuse_unknown(hints[name], below, (*path, name), where, root)
    elif get_origin(of) is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        for number, below in enumerate(value):
            _refuse_unknown(get_args(of)[0], below, (*path, str(number)), where, root)


def _unknown(path: tuple[str, ...], known: list[str], where: str) -> ConfigError:
    near = get_close_matches(path[-1], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
    return ConfigError(f"{where}: unknown key {'.'.join(path)}; {hint}")


def _convert(of: type[T], tree: Mapping[str, Any], root: str, origin: Mapping[str, str]) -> T:
    try:
        return msgspec.convert(tree, of, strict=True, dec_hook=_decode_own)
    except msgspec.ValidationError as error:
        text, _, at = str(error).partition(" - at `$")
        key = ".".join(part for part in (root, at.rstrip("`").lstrip(".")) if part)
        raise ConfigError(f"{_origin_of(key, origin)}{key or 'settings'}: {text[:1].lower()}{text[1:]}") from error


def _origin_of(key: str, origin: Mapping[str, str]) -> str:
    """Return "file: " or the like of the longest known prefix of `key`, or ""."""
    names = key.replace("[", ".[").split(".")
    for end in range(len(names), -1, -1):
        if (where := origin.get(".".join(names[:end]))) is not None:
            return "" if where == f"--set {key}" else f"{where}: "
    return ""


def _decode_own(of: type, value: Any) -> Any:
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")
    return of(value)


def _checked(settings: Settings, origin: Mapping[str, str]) -> Settings:
    """Return `settings` if every number lies in its range and what belongs together fits, else raise ConfigError."""
    for key, text in (*_out_of_range(settings, ""), *_contradictions(settings)):
        raise ConfigError(f"{_origin_of(key, origin)}{key}: {text}")
    return settings


def _out_of_range(section: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(section):
        value, key = getattr(section, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _out_of_range(value, f"{key}.")
        elif isinstance(value, tuple):
            for number, below in enumerate(value):
                if dataclasses.is_dataclass(below):
                    yield from _out_of_range(below, f"{key}[{number}].")
        yield from ((key, text) for text in _violations(value, field.metadata))


def _violations(value: Any, rules: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        lo, hi = rules.get("lo"), rules.get("hi")
        if value != value or (lo is not None and value < lo) or (hi is not None and value > hi):
            yield f"{value:g} is out of range, must be {describe_range(lo, hi)}"
    if choices := rules.get("choices"):
        for one in value if isinstance(value, tuple) else (value,):
            if one not in choices:
                near = get_close_matches(one, choices, n=1)
                yield f"unknown value {one!r}; " + (
                    f"did you mean {near[0]}?" if near else f"known: {', '.join(choices)}"
                )


def describe_range(lo: float | None, hi: float | None) -> str:
    """Return a closed range in words, or "" when there is none."""
    if lo is not None and hi is not None:
        return f"from {lo:,g} to {hi:,g}"
    return f"at least {lo:,g}" if lo is not None else (f"at most {hi:,g}" if hi is not None else "")


def _contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.kafka.partitions > settings.pipeline.shards:
        yield (
            "kafka.partitions",
            f"{settings.kafka.partitions} is more than pipeline.shards ({settings.pipeline.shards})",
        )
    if not settings.detectors.enabled:
        yield "detectors.enabled", "name at least one"
    if len(set(settings.detectors.enabled)) != len(settings.detectors.enabled):
        yield "detectors.enabled", "names a detector twice"
    for name in settings.kafka.security:
        if not name.startswith(SECURITY_KEYS):
            yield f"kafka.security.{name}", f"not a security key; those begin with {', '.join(SECURITY_KEYS)}"
    names = [hook.name for hook in settings.notify.webhooks]
    for number, name in enumerate(names):
        if not name or name in names[:number]:
            yield f"notify.webhooks[{number}].name", "must be given and unique"
    yield from ((f"pull.{key}", text) for key, text in pull_contradictions(settings.pull))
    for key in ("scope", "default_namespace"):
        if not getattr(settings.identity, key) or "/" in getattr(settings.identity, key):
            yield f"identity.{key}", "must not be empty nor hold a slash"

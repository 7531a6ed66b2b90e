"""Renders `docs/settings.md` from the settings tree: `python -m opsbrain.settings_docs > docs/settings.md`."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

from opsbrain.secrets import Secret
from opsbrain.settings import ObjectStorage, Settings, TelemetryTopic, Webhook
from opsbrain.settings_load import describe_range

_HEAD = """\
# Settings

<!-- Rendered from opsbrain/settings.py by `python -m opsbrain.settings_docs`; change it there. -->

Every setting has a default that is meant to work. Each source overrides the one before it:

1. a TOML file, named by `--config FILE` or the environment variable `OPSBRAIN_CONFIG`;
2. environment variables `OPSBRAIN_SECTION__KEY`, as in `OPSBRAIN_PIPELINE__QUIET_S=900`
   (lists and tables as TOML: `OPSBRAIN_DETECTORS__ENABLED='["zscore"]'`);
3. flags `--set section.key=value`, as in `--set pipeline.quiet_s=900`.

An unknown key, a value of the wrong type or one out of its range stops the program with one line that names it, and
exit status 2. Values of type *secret* are never shown; give them as `file:PATH` (first line of the file), `env:NAME`,
or as they are. `opsbrain doctor` says whether your settings hold.

```toml
[pipeline]
quiet_s = 900

[detectors.options.zscore]
half_life_windows = 120

[kafka]
bootstrap = "broker-1:9092,broker-2:9092"
telemetry = [
  { topic = "telemetry.logs", format = "fluentbit", scope = "prod" },
]

[kafka.security]
"security.protocol" = "SASL_SSL"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "opsbrain"
"sasl.password" = "file:/run/secrets/kafka-password"

[[notify.webhooks]]
name = "on-call"
url = "https://hooks.example.com/opsbrain"
secrets = ["file:/run/secrets/webhook"]
kinds = ["opened", "resolved"]
```
"""

_ITEMS: Final = (
    ("An item of `kafka.telemetry`", TelemetryTopic),
    ("An item of `notify.webhooks`", Webhook),
    ("An item of `pull.object_storage`", ObjectStorage),
)


def render_docs() -> str:
    """Return the whole of `docs/settings.md`."""
    parts = [_HEAD]
    for name, of in get_type_hints(Settings).items():
        parts.append(f"\n## {name}\n\n{inspect.getdoc(of)}\n\n" + "\n".join(_table(of, name)) + "\n")
    for title, of in _ITEMS:
        parts.append(f"\n### {title}\n\n{inspect.getdoc(of)}\n\n" + "\n".join(_table(of, "")) + "\n")
    return "".join(parts)


def _table(of: Any, prefix: str) -> Iterator[str]:
    yield "| key | type | default | range | what it does |"
    yield "|---|---|---|---|---|"
    yield from _rows(of, prefix)


def _rows(of: Any, prefix: str) -> Iterator[str]:
    hints = get_type_hints(of)
    for field in dataclasses.fields(of):
        key = f"{prefix}.{field.name}" if prefix else field.name
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _rows(hints[field.name], key)
            continue
        cells = (
            f"`{key}`",
            _type_name(hints[field.name]),
            _default(field),
            _range(field.metadata),
            field.metadata["doc"],
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type_name(of: Any) -> str:
    if get_origin(of) is tuple:
        return f"list of {_type_name(get_args(of)[0])}"
    if get_origin(of) is dict or dataclasses.is_dataclass(of):
        return "table"
    names = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        Secret: "secret",
        NoneType: "none",
    }
    return names.get(of, "any")


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "*required*" if field.default_factory is dataclasses.MISSING else "empty"
    value = field.default
    if isinstance(value, Secret) or value in ("", ()):
        return "empty"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{one}"' for one in value) + "]`"
    return f"`{value}`"


def _range(rules: Mapping[str, Any]) -> str:
    return describe_range(rules["lo"], rules["hi"]) or ", ".join(rules["choices"])


if __name__ == "__main__":
    sys.stdout.write(render_docs())

"""Checks manifests against the schemas of Kubernetes, without a cluster (package `kubernetes-validate`).

A kind without a schema (a custom resource) cannot be checked, and that is said: inconclusive, never passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from autofix.patch import canonical, parse_manifest
from engine.errors import ConfigError
from engine.types import Outcome


def known_versions() -> list[str]:
    """Return the Kubernetes versions whose schemas are at hand, oldest first (such as `1.33.0`)."""
    from kubernetes_validate.utils import all_versions

    return list(all_versions())


def schema_version(wanted: str = "") -> str:
    """Return the newest schema version (major.minor), or that of `wanted`; raise ConfigError when there is none.

    Set it to your cluster's version: a newer schema may refuse a field that your cluster still knows.
    """
    minors = [".".join(version.split(".")[:2]) for version in known_versions()]
    if not wanted:
        return minors[-1]
    minor = ".".join(wanted.removeprefix("v").split(".")[:2])
    if minor not in minors:
        raise ConfigError(f"no Kubernetes schemas of version '{wanted}'; there are {minors[0]} to {minors[-1]}")
    return minor


def check_manifest(manifest: Mapping[str, Any], version: str) -> tuple[Outcome, str]:
    """Return whether `manifest` fits the schema of Kubernetes `version`, and what was found.

    Unknown fields are refused. About 10 ms a manifest not seen before; the last 256 answers are kept.
    """
    return _check(canonical(manifest), version)


@lru_cache(maxsize=256)
def _check(text: str, version: str) -> tuple[Outcome, str]:
    import kubernetes_validate

    manifest = parse_manifest(text)
    kind, api_version = manifest.get("kind"), manifest.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(api_version, str):
        return Outcome.FAILED, "the manifest names no kind or no apiVersion"
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = "/".join(str(step) for step in error.path)
        return Outcome.FAILED, f"{kind} at /{where}: {error.message}"[:300]
    except kubernetes_validate.SchemaNotFoundError:
        return Outcome.INCONCLUSIVE, f"there is no schema for {kind} of {api_version}"
    except kubernetes_validate.InvalidSchemaError as error:
        return Outcome.INCONCLUSIVE, f"the schema for {kind} cannot be read: {error}"
    return Outcome.PASSED, f"{kind} fits"

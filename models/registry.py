"""A registry of model versions: what was trained, from which data, with which seed, and proof that it is still that.

    ROOT/
      forest/
        v-4f1c22a0b9d3e871/
          manifest.json   name, version, scope, data range, seed, SHA-256 of state.bin
          state.bin       the model as plain data (`engine.state_codec`), never a pickled object

A version is a hash of what it holds and whence, so registering the same model twice is registering it once. A model
that was trained elsewhere (on a GPU, say) enters here as an artefact; a run names the version that it uses.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from engine.errors import ConfigError, SourceError, StateMismatch
from engine.ids import content_id
from engine.state_codec import decode_state, encode_state
from engine.types import Fit, State

_MANIFEST: Final = "manifest.json"
_STATE: Final = "state.bin"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of one version. Data range half-open `[from_ms, until_ms)`, in event time."""

    name: str
    version: str
    scope: str
    from_ms: int
    until_ms: int
    seed: int
    sha256: str


class ModelRegistry:
    """Versions of models in a folder, each written once and never changed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, name: str, scope: str, from_ms: int, until_ms: int, seed: int, state: State) -> Manifest:
        """Register a model and return its manifest; the same model again is the same version.

        Raises SourceError when the folder cannot be written, ConfigError for a name that is no plain word.
        """
        if not name.isidentifier():
            raise ConfigError(f"a model's name is one plain word, not {name!r}")
        body = encode_state(state)
        digest = hashlib.sha256(body).hexdigest()
        version = content_id("v", name, scope, from_ms, until_ms, seed, digest)
        manifest = Manifest(name, version, scope, from_ms, until_ms, seed, digest)
        folder = self._root / name / version
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / _STATE, body)
            # last: a version without its manifest was never finished and does not exist
            _write(folder / _MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        except OSError as error:
            raise SourceError(f"cannot write the model to {folder}: {error.strerror}") from error
        return manifest

    def versions(self, name: str) -> list[Manifest]:
        """Return every version of a model, by the end of its data and then by version; none if there is none."""
        manifests = [self._manifest(path) for path in sorted((self._root / name).glob(f"*/{_MANIFEST}"))]
        return sorted(manifests, key=lambda one: (one.until_ms, one.version))

    def load(self, name: str, version: str) -> tuple[Manifest, State]:
        """Return a version; raise StateMismatch when it is not what its manifest says, SourceError if it is absent."""
        folder = self._root / name / version
        manifest = self._manifest(folder / _MANIFEST)
        try:
            body = (folder / _STATE).read_bytes()
        except OSError as error:
            raise SourceError(f"cannot read the model {folder / _STATE}: {error.strerror}") from error
        if hashlib.sha256(body).hexdigest() != manifest.sha256:
            raise StateMismatch(
                f"{folder / _STATE} is damaged: its SHA-256 is not the manifest's; delete this version and train again"
            )
        return manifest, decode_state(body)

    def fit(self, name: str, version: str, from_ms: int) -> Fit:
        """Return a version as a fit that takes effect at `from_ms`."""
        manifest, state = self.load(name, version)
        return Fit(manifest.scope, name, manifest.until_ms, from_ms, state, manifest.sha256)

    def _manifest(self, path: Path) -> Manifest:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Manifest)
        except OSError as error:
            raise SourceError(f"there is no model at {path.parent}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise StateMismatch(f"{path} is no manifest of a model: {error}") from error


def _write(path: Path, body: bytes) -> None:
    """Write whole or not at all: under another name first, then renamed."""
    unfinished = path.with_suffix(path.suffix + ".part")
    unfinished.write_bytes(body)
    unfinished.replace(path)

"""Golden messages: real shapes, one a file, or one a line of a .jsonl, in tests/golden/<format>/."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "golden"


def golden(format: str) -> list[bytes]:
    """Return the golden messages of a format, by the names of their files; none where it has none."""
    files = sorted(one for one in (FOLDER / format).glob("*") if one.is_file() and not one.name.startswith("."))
    return [body for file in files for body in _messages(file)]


def _messages(file: Path) -> list[bytes]:
    body = file.read_bytes()
    return [line for line in body.splitlines() if line] if file.suffix == ".jsonl" else [body]

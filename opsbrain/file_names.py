"""Names of files, made of what people call things."""

from __future__ import annotations


def file_name(name: str) -> str:
    """Return `name` fit to be a file's name; several names may give the same.

    >>> file_name("a b"), file_name("a_b"), file_name("")
    ('a_b', 'a_b', '_')
    """
    return "".join(one if one.isalnum() or one in "-_" else "_" for one in name) or "_"

"""The signature of a log line: what varies becomes `<*>`. Stateless, applied at decode (DESIGN, section 2, rule 3).

The rules are those of `models.masking`, so that a line is masked alike wherever templates are learned.
"""

from __future__ import annotations

from models.masking import MARK, mask, mask_series

__all__ = ["MARK", "mask", "mask_series"]

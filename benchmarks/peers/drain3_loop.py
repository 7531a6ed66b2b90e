"""Drain3 with the masking of its example configuration, over the lines of a file, one after the other.

    python drain3_loop.py FILE OUT

The masks are those of `examples/drain3.ini` of logpai/Drain3, by meaning: each stands alone between other signs.
"""

# mypy: ignore-errors
# Runs in an environment of its own (requirements.txt), where nothing of ours is installed.

import json
import sys
import time
from pathlib import Path

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

ALONE = r"((?<=[^A-Za-z0-9])|^)({})((?=[^A-Za-z0-9])|$)"
MASKS = (
    (ALONE.replace("{}", r"([0-9a-f]{2,}:){3,}([0-9a-f]{2,})"), "ID"),
    (ALONE.replace("{}", r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"), "IP"),
    (ALONE.replace("({})", r"([0-9a-f]{6,} ?){3,}"), "SEQ"),
    (ALONE.replace("({})", r"([0-9A-F]{4} ?){4,}"), "SEQ"),
    (ALONE.replace("{}", r"0x[a-f0-9A-F]+"), "HEX"),
    (ALONE.replace("{}", r"[\-\+]?\d+"), "NUM"),
    (r'(?<=executed cmd )(".+?")', "CMD"),
)


def configured():
    """Return Drain3's configuration as its example has it."""
    config = TemplateMinerConfig()
    config.masking_instructions = [MaskingInstruction(pattern, name) for pattern, name in MASKS]
    config.mask_prefix, config.mask_suffix = "<:", ":>"
    config.drain_sim_th, config.drain_depth = 0.4, 4
    config.drain_max_children, config.drain_max_clusters = 100, 1024
    config.drain_extra_delimiters = ["_"]
    config.profiling_enabled = False  # its example measures itself; without that it is quicker
    return config


def main(file, out):
    """Mine the templates of a file's lines, and write what that took."""
    lines = Path(file).read_text().split("\n")
    miner = TemplateMiner(config=configured())
    began_s, clock_s = time.process_time(), time.monotonic()
    for line in lines:
        miner.add_log_message(line)
    result = {
        "items": len(lines),
        "cpu_s": time.process_time() - began_s,
        "wall_s": time.monotonic() - clock_s,
        "templates": len(miner.drain.clusters),
    }
    Path(out).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

"""How much of the machine's memory a process may use."""

from __future__ import annotations

import os
from pathlib import Path

RAM_SHARE = 0.8
"""The part of it that data may claim; networks, environments and the interpreter need the rest."""


def ram_limit() -> int:
    """Memory this process may use, in bytes: the machine's, or its control group's limit where that is lower."""
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # control groups of version 2 and 1
        try:
            text = Path("/sys/fs/cgroup", name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limit = min(limit, int(text))
    return limit

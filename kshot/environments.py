"""Meta-World's benchmarks in Gymnasium's registry: import this module, then ``gym.make_vec("kshot/ML10-train", ...)``.

Gymnasium 1.0 dropped the entry point through which packages used to register without being imported.
"""

from __future__ import annotations

from gymnasium.envs.registration import register

from kshot.types import SPLITS

for _benchmark in ("ML1", "ML10", "ML25", "ML45", "custom"):
    for _split in SPLITS:
        register(
            id=f"kshot/{_benchmark}-{_split}",
            vector_entry_point="kshot.envs.metaworld._benchmarks:make",  # imported when one is made
            kwargs={"benchmark": _benchmark, "split": _split},
        )

for _benchmark in ("MT1", "MT10", "MT25", "MT50"):
    register(
        id=f"kshot/{_benchmark}",
        vector_entry_point="kshot.metaworld.multitask:make",
        kwargs={"benchmark": _benchmark},
    )

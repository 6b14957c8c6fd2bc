"""Meta-World's benchmarks in Gymnasium's registry: ``import kshot``, then ``gym.make_vec("kshot/ML10-train", ...)``.

Gymnasium 1.0 dropped the entry point through which packages used to register without being imported.
"""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

_BENCHMARKS = ("ML1", "ML10", "ML25", "ML45", "custom")
_SPLITS = ("train", "validation", "test")


def register_environments() -> None:
    """Register ``kshot/<benchmark>-<split>``; the environments' code is imported when one is made."""
    for benchmark in _BENCHMARKS:
        for split in _SPLITS:
            name = f"kshot/{benchmark}-{split}"
            if name not in registry:
                register(
                    id=name,
                    vector_entry_point="envs.metaworld._benchmarks:make",
                    kwargs={"benchmark": benchmark, "split": split},
                )

"""Meta-World stepped in batches: the physics in threads, the classes' own reward code translated to machine code.

Read ``batch`` for how a step runs, ``kernel`` for the loop of one thread, and ``translation``, ``rewriting`` and
``symbols`` for how Metaworld's Python becomes machine code that computes the same bits.
"""

from kshot.envs.metaworld.engine.batch import Batch
from kshot.envs.metaworld.engine.exactness import why_inexact
from kshot.envs.metaworld.engine.kernel import STATE
from kshot.envs.metaworld.engine.prototypes import Snapshot, observation_bounds, prototype, reset_to
from kshot.envs.metaworld.engine.translation import INFO_KEYS

__all__ = ["INFO_KEYS", "STATE", "Batch", "Snapshot", "observation_bounds", "prototype", "reset_to", "why_inexact"]

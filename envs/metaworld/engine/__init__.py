"""The engine: Meta-World in batches, its physics in threads, its own observation and reward code as machine code.

``batch`` has how a step runs, ``kernel`` the loop of one thread; ``translation``, ``rewriting`` and ``symbols`` have
how Metaworld's Python becomes machine code that computes the same bits.
"""

from kshot.envs.metaworld.engine.batch import Batch
from kshot.envs.metaworld.engine.exactness import why_inexact
from kshot.envs.metaworld.engine.kernel import STATE
from kshot.envs.metaworld.engine.prototypes import Snapshot, observation_bounds, prototype, reset_to
from kshot.envs.metaworld.engine.translation import INFO_KEYS

__all__ = ["INFO_KEYS", "STATE", "Batch", "Snapshot", "observation_bounds", "prototype", "reset_to", "why_inexact"]

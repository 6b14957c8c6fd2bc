"""Keeps a critic's targets at mean 0 and standard deviation 1, whatever the rewards of a task are worth.

PopArt (van Hasselt, Guez, Hessel, Mnih and Silver 2016, arXiv 1602.07714): targets are standardised by running
statistics, and whenever these change, the critic's last layer is changed so that the values that it stands for do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from kshot.learning.actor_critic import RecurrentNetwork
from kshot.types import Array

RATE = 0.3
"""Weight of a new batch in the running statistics: returns can grow tenfold in a few batches once a task is solved."""
SMALLEST = 1e-4
"""Bound on the standard deviation (as there, section 2.4): batches without any reward must not blow the critic up."""


class ValueScale:
    """The mean and the standard deviation by which a network's critic has its targets standardised.

    The critic starts at zero. What a random one says differs from step to step as much as the values of a task whose
    rewards are near 1, and a policy that is paid with advantages over it learns its noise where they are smaller.
    """

    def __init__(self, network: RecurrentNetwork) -> None:
        network.rescale_value(0.0, 0.0)
        self._network = network
        self.mean, self.deviation = 0.0, 1.0
        self._begun = False

    def values(self, outputs: Tensor) -> Tensor:
        """[...] the values, in units of the rewards, that the critic's outputs stand for."""
        return outputs * self.deviation + self.mean

    def standardised(self, targets: Array, mask: Array) -> Array:
        """[...] targets, in units of the rewards, as the critic is to learn them; its statistics follow them.

        Args:
            targets: [...].
            mask: [...] True where a step was really taken.
        """
        taken = targets[mask].astype(np.float64)
        weight = RATE if self._begun else 1.0
        mean = (1 - weight) * self.mean + weight * float(taken.mean())
        square = (1 - weight) * (self.deviation**2 + self.mean**2) + weight * float((taken**2).mean())
        deviation = max(math.sqrt(max(square - mean**2, 0.0)), SMALLEST)
        if self._begun:
            self._network.rescale_value(self.deviation / deviation, (self.mean - mean) / deviation)
        self.mean, self.deviation, self._begun = mean, deviation, True
        return (targets - self.mean) / self.deviation

    def state_dict(self) -> dict[str, float]:
        """What ``load_state_dict`` takes; the critic's parameters are the network's."""
        return {"mean": self.mean, "deviation": self.deviation, "begun": float(self._begun)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.mean, self.deviation, self._begun = state["mean"], state["deviation"], bool(state["begun"])

"""Environments that are as they should be but for one thing, for tests of what is refused."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Line(gymnasium.Env[Any, Any]):
    """A place on a line that actions 0 and 1 move by ``pace``; it has no end, and ``fault`` spoils it."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space: spaces.Space[Any] = spaces.Discrete(2)

    def __init__(self, fault: str = "", pace: float = 1.0, render_mode: str | None = None) -> None:
        self.fault, self.pace, self.bonus, self.render_mode = fault, pace, 0.0, render_mode
        self.place, self.steps = 0.0, 0
        if fault == "needs a display":
            raise RuntimeError("No available video device")
        if fault == "unbounded":
            self.action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        if fault == "several actions":
            self.action_space = spaces.MultiDiscrete([2, 2])
        if fault == "text":
            self.observation_space = spaces.Sequence(spaces.Discrete(2))  # type: ignore[assignment]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place = float(self.np_random.normal()) if self.fault != "forgets the seed" else self.place + 1.0
        if self.fault == "global generator":
            self.place = float(np.random.normal())
        if options is not None:
            self.place += options["offset"]
        self.steps = 0
        return (self._seen(), {}) if self.fault != "old reset" else self._seen()

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.place += self.pace * (2 * int(action) - 1)
        reward = float("nan") if self.fault == "nan reward" else self.place + self.bonus
        late = self.fault == "late" and self.steps == 300
        info = {"is_success": self.place > 0} if self.fault != "silent" else {"success": 1}
        result = (self._seen(), float("nan") if late else reward, False, False, info)
        return result if self.fault != "old step" else result[:4]

    def _seen(self) -> Any:
        shown = np.array([self.place, self.pace], dtype=np.float32)
        return {
            "nan": shown * np.float32("nan"),
            "shape": shown[:1],
            "dtype": shown.astype(np.float64),
            "list": shown.tolist(),
        }.get(self.fault, shown)


def line(**values: Any) -> Line:
    """What settings name."""
    return Line(**values)

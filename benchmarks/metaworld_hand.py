"""What the hand's box of cells can do in all 50 classes of Meta-World, knowing the goal: the abstraction's ceiling.

    python -m benchmarks.metaworld_hand

For the classes of ``envs/metaworld_hand/_abstractions.py`` with their own boxes and grips; for the others with a box
and a number of decisions measured from the experts' paths, without a grip and with the one of pick-place, whichever
does better. Per class: how often Metaworld's scripted expert succeeds at the last decision and at any, how many noisy
demonstrations end with success and can be told in cells, how many decisions the expert's path takes, and how often
following it cell by cell succeeds at the last decision and at any.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence

import numpy as np

from kshot import seeding
from kshot.envs._scripted import constant_action
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._tasks import CLASSES, Goal
from kshot.envs.metaworld_hand import _references as scripts
from kshot.envs.metaworld_hand._abstractions import ABSTRACTIONS, CELL_SIZE, Abstraction
from kshot.envs.metaworld_hand._arms import Arms
from kshot.envs.metaworld_hand._environment import EXPERT, HandVectorEnv
from kshot.envs.metaworld_hand._experts import aimed_expert, demonstrate
from kshot.envs.metaworld_hand._scenes import Scene
from kshot.envs.metaworld_hand._world import STAY, HandWorld
from kshot.types import Policy

MOST_DECISIONS = 40
STEPS = 400
SMALLEST = Abstraction("", (-0.04, 0.56, 0.16), (3, 3, 3), MOST_DECISIONS)
"""Where hands begin, for classes without an entry: their box grows from there."""


def measured(name: str, of: Sequence[Goal]) -> Abstraction:
    """An abstraction whose box holds the experts' paths, a cell wider on every side, without a grip."""
    bare = dataclasses.replace(SMALLEST, env_name=name)
    arms = Arms(bare, len(of))
    arms.reset(of)
    experts = [aimed_expert(bare, goal) for goal in of]
    places, efforts = [arms.hand.copy()], []
    for t in range(STEPS):
        wanted = np.stack([control(arms.obs[i], t) for i, control in enumerate(experts)])
        arms.step(np.arange(len(of)), wanted)
        places.append(arms.hand.copy())
        efforts.append(wanted[:, 3])
        if arms.success.all():
            break
    arms.close()
    low, high = np.min(places, axis=(0, 1)) - CELL_SIZE, np.max(places, axis=(0, 1)) + CELL_SIZE
    shape = [math.ceil(size / CELL_SIZE) for size in high - low]
    effort = float(np.clip(np.median(efforts), -1, 1))
    return Abstraction(name, tuple(low.tolist()), tuple(shape), MOST_DECISIONS, effort=effort, gain=25.0)


def success(world: HandWorld, scenes: Sequence[Scene], policy: Policy) -> dict[str, float]:
    """Share of one episode per scene that ends with success, and that has it at some step."""
    env = HandVectorEnv(world, scenes)
    obs, _ = env.reset(seed=list(range(len(scenes))))
    memory, found = policy.start(len(scenes), 1), np.zeros(len(scenes), dtype=bool)
    for _ in range(world.decisions):
        action, _, memory = policy.act(obs[:, None], memory, None)
        obs, reward, _, done, info = env.step(action[:, 0])
        memory = policy.observe(memory, action, reward[:, None], done[:, None])
        found |= info["success"]
    env.close()
    return {"last": float(info["success"].mean()), "any": float(found.mean())}


def row(abstraction: Abstraction, of: Sequence[Goal]) -> dict[str, float]:
    """Everything that is printed of a class."""
    world, scenes = HandWorld(abstraction), [Scene(name, rand_vec=vec) for name, vec in of]
    plain = scripts.noiseless_paths(world, of)
    keys = seeding.split(seeding.key("benchmark"), np.arange(len(of)))
    noisy = demonstrate(world, of, keys)
    lengths = [np.flatnonzero(path.action != STAY).max(initial=-1) + 1 for path in plain if path is not None]
    ceiling = success(world, scenes, scripts.ceiling(world, scenes))
    expert = success(world, scenes, constant_action(np.full(len(scenes), EXPERT)))
    return {
        "expert": expert["last"],
        "expert_any": expert["any"],
        "accepted": float(np.mean([path is not None for path in noisy])),
        "decisions": float(np.max(lengths, initial=0)),
        "ceiling": ceiling["last"],
        "ceiling_any": ceiling["any"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goals", type=int, default=20, help="training goals per class (default 20, at most 50)")
    parser.add_argument("--classes", nargs="*", default=CLASSES, help="class names (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object per class")
    arguments = parser.parse_args()
    names = ("expert", "expert_any", "accepted", "decisions", "ceiling", "ceiling_any")
    if not arguments.json:
        print(f"{'class':28} {'grip':>6} " + " ".join(f"{name:>11}" for name in names))
    grasp = ABSTRACTIONS["pick-place-v3"].grip
    for name in arguments.classes:
        of = list(goals(Source("ML1", name, 0), "train")[: arguments.goals])
        if name in ABSTRACTIONS:
            candidates = {"own": ABSTRACTIONS[name]}
        else:
            plain = measured(name, of)
            candidates = {"none": plain, "grasp": dataclasses.replace(plain, effort=-1.0, grip=grasp)}
        rows = {kind: row(abstraction, of) for kind, abstraction in candidates.items()}
        kind = max(rows, key=lambda kind: rows[kind]["ceiling"])
        if arguments.json:
            print(json.dumps({"class": name, "grip": kind, **rows[kind]}), flush=True)
        else:
            print(f"{name:28} {kind:>6} " + " ".join(f"{rows[kind][n]:11.2f}" for n in names), flush=True)


if __name__ == "__main__":
    main()

"""Searches for the scripted gaits of the robots: the numbers beside ``envs/_robots/gaits.py``.

    python -m benchmarks.gaits NAME [--iterations N]

writes the gaits of family NAME anew. The search is augmented random search (Mania, Guy and Recht 2018, arXiv
1803.07055, algorithm 2 with fixed normalisation): weights move along random directions, each in proportion to the
difference between the returns of a step there and of one back, summed over the best directions. It never plays a test
task, and the same tasks with the same reset noise for all candidates of an iteration. Where a file holds several gaits,
the first is searched for on all training tasks, and each further one starts from it: for a part of the tasks (speeds,
also beyond the training range), or for those tasks where the best so far earns least, of which the one that earns most
on all training tasks then comes first.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kshot import registry, seeding
from kshot.envs import ant_goal, cheetah_dir, cheetah_vel
from kshot.envs._robots import gaits
from kshot.envs._robots.gaits import Gaits
from kshot.envs._robots.simulation import RobotVectorEnv
from kshot.envs._scripted import Scripted, uniform_random
from kshot.errors import suggest
from kshot.types import Array, Policy, Task

Asks = Callable[[Array], Array]
"""Observations [T, C, D] -> requests [T, C, K]."""
BEST = 2 / 3
"""The share of directions that count, those whose better step earns most."""


@dataclass(frozen=True)
class Search:
    """What is searched for, and how long.

    Attributes:
        tasks: family -> the training tasks that are played.
        asks: tasks [T] -> what they ask of a gait.
        seen: entries of observations that gaits see.
        rhythm: cycles per step.
        horizon: steps of an episode of the search. Gaits are cyclic, so half an episode of the family tells them apart;
            where robots fall, a longer one, so that they do not at its end.
        together: tasks per iteration, drawn anew for each; all of them by default.
        iterations: of the first gait.
        directions: per iteration.
        noise: length of a step along a direction.
        rate: of the weights.
        settled: share of noise and rate that is left at the end, reached linearly.
        further: number of further gaits, each for the tasks where the best so far earns least.
        hardest: how many tasks these are.
        parts: family -> the tasks of each further gait instead, where they are known beforehand.
    """

    tasks: Callable[[Any], list[Task]]
    asks: Callable[[Sequence[Task]], Asks]
    seen: Sequence[int]
    rhythm: float
    horizon: int = 100
    together: int = 0
    iterations: int = 120
    directions: int = 12
    noise: float = 0.05
    rate: float = 0.08
    settled: float = 0.2
    further: int = 0
    hardest: int = 6
    parts: Callable[[Any], list[list[Task]]] = lambda family: []


def constant(requests: Array) -> Asks:
    return lambda obs: np.broadcast_to(requests[:, None], (*obs.shape[:2], requests.shape[1]))


def speeds(family: Any) -> list[Task]:
    """Five speeds over the training range, a little beyond its upper end, where most is to be learnt."""
    return at(family.settings.fastest * np.array([0.05, 0.35, 0.65, 0.9, 1.1]))


def speeds_of_gaits(family: Any) -> list[list[Task]]:
    """Four speeds within each part of ``cheetah_vel.GAIT_WIDTH`` m/s up to the fastest outside the training range."""
    starts = cheetah_vel.GAIT_WIDTH * np.arange(cheetah_vel.GAITS)
    return [at(start + cheetah_vel.GAIT_WIDTH * np.array([0.1, 0.35, 0.65, 0.9])) for start in starts]


def at(values: Array) -> list[Task]:
    return [Task("cheetah_vel", "train", i, (("speed", value),)) for i, value in enumerate(values.tolist())]


def both(family: Any) -> list[Task]:
    return list(family.tasks("train", 2, 0))


def places(family: Any) -> list[Task]:
    """Four goals around the start."""
    angle, radius = (np.arange(4) + 0.2) * np.pi / 2, 0.8 * family.settings.radius
    found = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).tolist()
    return [Task("ant_goal", "train", i, (("goal", tuple(goal)),)) for i, goal in enumerate(found)]


def every(family: Any) -> list[Task]:
    return list(family.tasks("train", 40, 0))


def nothing(tasks: Sequence[Task]) -> Asks:
    return constant(np.zeros((len(tasks), 0)))


POSTURE = (1, 8, 10)
"""Pitch, speed and pitch rate of a HalfCheetah."""
_PARAMETERS: dict[str, Any] = {"together": 6, "directions": 10, "iterations": 60, "further": 3}
SEARCHES: dict[str, Search] = {
    "cheetah_vel": Search(
        speeds, lambda tasks: constant(cheetah_vel.requests(tasks)), POSTURE, rhythm=0.125, parts=speeds_of_gaits
    ),
    "cheetah_dir": Search(
        both, lambda tasks: constant(cheetah_dir.directions(tasks)[:, None]), POSTURE, rhythm=0.125, iterations=80
    ),
    "ant_goal": Search(
        places,
        lambda tasks: ant_goal.towards(ant_goal.goals_of(tasks)),
        (),
        rhythm=0.1,
        noise=0.1,
        directions=8,
        iterations=80,
    ),
    "hopper_rand_params": Search(every, nothing, range(11), rhythm=0.02, horizon=200, settled=1.0, **_PARAMETERS),
    "walker_rand_params": Search(every, nothing, range(17), rhythm=0.012, horizon=260, **_PARAMETERS),
}


def play(env: RobotVectorEnv, policy: Policy, seeds: Sequence[int], noise: Array | None = None) -> tuple[Array, Array]:
    """Returns [N] of an episode in every sub-environment, and all observations [H, N, D] of it.

    ``noise`` is [H, N, 1, A], or None for policies that need none.
    """
    obs, _ = env.reset(seed=seeds)
    memory = policy.start(env.num_envs, 1)
    total, seen = np.zeros(env.num_envs), [obs]
    for t in range(env.horizon):
        action, _, memory = policy.act(obs[:, None], memory, None if noise is None else noise[t])
        obs, reward, terminated, truncated, _ = env.step(action[:, 0])
        memory = policy.observe(memory, action, reward[:, None], (terminated | truncated)[:, None])
        total += reward
        seen.append(obs)
        if truncated.all() or terminated.all():
            break
    return total, np.array(seen)


def environment(family: Any, tasks: Sequence[Task], copies: int) -> RobotVectorEnv:
    """Where success is a matter of what the gaits earn, without it: there are none yet."""
    make = family.plain_env if hasattr(family, "plain_env") else family.vector_env
    env: RobotVectorEnv = make(tasks, copies)
    return env


class Scorer:
    """Plays tasks by many weights side by side."""

    def __init__(self, family: Any, search: Search, tasks: Sequence[Task], candidates: int) -> None:
        self._n, self._candidates = len(tasks), candidates
        self._env = environment(family, [task for _ in range(candidates) for task in tasks], 1)
        self._asks = search.asks([task for _ in range(candidates) for task in tasks])

    def __call__(self, shape: Gaits, weights: Array, key: int) -> tuple[Array, Array]:
        """Returns [P, T] by weights [P, A, F], and the observations."""
        repeated = np.repeat(weights, self._n, axis=0)
        policy = Scripted(lambda obs, step, noise: gaits.act(repeated, shape.features(obs, step, self._asks(obs))))
        seeds = np.tile(seeding.split(key, np.arange(self._n)) >> np.uint64(1), self._candidates).tolist()
        returns, seen = play(self._env, policy, seeds)
        return returns.reshape(self._candidates, self._n), seen


def climb(family: Any, search: Search, shape: Gaits, start: Array, tasks: Sequence[Task], key: str, n: int) -> Array:
    """The best of the weights [A, F] after every ten of ``n`` iterations from ``start``, by their returns."""
    rng = seeding.generator("gaits", key)
    weights, begin = start.copy(), time.perf_counter()
    together = search.together or len(tasks)
    scorer, judge = None, Scorer(family, search, [task for task in tasks for _ in range(3)], 1)
    best_weights, best_score = start, -np.inf
    for i in range(n):
        share = 1.0 - (1.0 - search.settled) * i / n
        if scorer is None or together < len(tasks):
            drawn = [tasks[j] for j in rng.permutation(len(tasks))[:together]]
            scorer = Scorer(family, search, drawn, 2 * search.directions)
        steps = rng.standard_normal((search.directions, *weights.shape))
        tried = np.concatenate([weights + share * search.noise * steps, weights - share * search.noise * steps])
        returns = scorer(shape, tried, seeding.key("gaits", key, i))[0].mean(axis=1)
        there, back = returns[: search.directions], returns[search.directions :]
        best = np.argsort(-np.maximum(there, back))[: round(BEST * search.directions)]
        spread = np.concatenate([there[best], back[best]]).std()
        weights = weights + share * search.rate * ((there - back)[best, None, None] * steps[best]).mean(axis=0) / spread
        if i % 10 == 9:
            score = judge(shape, weights[None], seeding.key("gaits", key, "judge"))[0].mean()
            if score > best_score:
                best_weights, best_score = weights, score
            seconds = time.perf_counter() - begin
            print(f"{key} {i + 1}: {score:.1f}, tried {returns.mean():.1f}, after {seconds:.0f} s", flush=True)
    return best_weights


def searched(name: str, iterations: int | None = None) -> dict[str, Any]:
    """The content of the file of family ``name``."""
    search, module = SEARCHES[name], registry.load("envs", name)
    family = module.build(module.Settings(horizon=search.horizon))
    tasks = search.tasks(family)
    env = environment(family, tasks, max(1, 32 // len(tasks)))
    keys = seeding.split(seeding.key("gaits", name), np.arange(env.num_envs))
    space = env.robot.action_space
    width = space.shape[0]
    noise = np.array([seeding.noise(keys[:, None], t, width, "continuous") for t in range(env.horizon)])
    _, random = play(env, uniform_random(space), (keys >> np.uint64(1)).tolist(), noise)
    random = random.reshape(-1, random.shape[-1])
    seen = np.array(search.seen, dtype=np.int64)
    count = len(seen) + 3 * (1 + search.asks(tasks)(np.zeros((len(tasks), 1, random.shape[1]))).shape[-1])
    shape = Gaits(
        seen,
        random[:, seen].mean(axis=0).round(3),
        np.maximum(random[:, seen].std(axis=0), 0.01).round(3),
        search.rhythm,
        np.zeros((1, width, count)),
        np.zeros((2, 0)),
    )
    n = iterations or search.iterations
    found = [climb(family, search, shape, shape.weights[0], tasks, name, n)]
    scorer = Scorer(family, search, tasks, 1)
    score = [scorer(shape, found[0][None], seeding.key("gaits", name, "score"))[0][0]]
    parts = search.parts(family)
    for i in range(len(parts) or search.further):
        hardest = [tasks[j] for j in np.argsort(np.max(score, axis=0))[: search.hardest]]
        found.append(climb(family, search, shape, found[0], parts[i] if parts else hardest, f"{name} {i + 2}", n // 3))
        score.append(scorer(shape, found[-1][None], seeding.key("gaits", name, "score"))[0][0])
    if not parts:  # the one that earns most on all training tasks comes first: families take it for the floor
        order = np.argsort(-np.mean(score, axis=1), kind="stable")
        found = [found[i] for i in order]
    print(f"{name}: returns by the best gait {np.max(score, axis=0).round(1).tolist()}")
    walked = np.concatenate([scorer(shape, w[None], seeding.key("gaits", name, "seen"))[1] for w in found], axis=1)
    both = (random, walked.reshape(-1, walked.shape[-1]))
    center = np.mean([part.mean(axis=0) for part in both], axis=0)
    scale = np.sqrt(np.mean([((part - center) ** 2).mean(axis=0) for part in both], axis=0))
    return {
        "seen": seen.tolist(),
        "center": shape.center.tolist(),
        "scale": shape.scale.tolist(),
        "rhythm": search.rhythm,
        "normaliser": np.array([center, np.maximum(scale, 0.1)]).round(3).tolist(),
        "weights": np.array(found).round(3).tolist(),
    }


def main() -> None:
    """Write the file of one family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help=f"of {', '.join(SEARCHES)}")
    parser.add_argument("--iterations", type=int, help="of the first gait; further ones get a third of them")
    arguments = parser.parse_args()
    if arguments.name not in SEARCHES:
        parser.error(f"unknown family {arguments.name!r}{suggest(arguments.name, SEARCHES)}")
    values = searched(arguments.name, arguments.iterations)
    path = Path(gaits.__file__).with_name(f"{arguments.name}.json")
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

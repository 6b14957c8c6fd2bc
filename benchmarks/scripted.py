"""What scripted policies of the bandits, of the random MDPs and of offloading reach: the tables of their pages.

    python -m benchmarks.scripted bandit
    python -m benchmarks.scripted tabular_mdp
    python -m benchmarks.scripted offload_dag

play test tasks of seed 0 and print mean and standard error over tasks, as Markdown. The second also plays posterior
sampling told where the last step of every episode led to, which no policy sees here, and prints what that changes on
the same tasks with the same randomness. The third prints mean makespans, in seconds at the authors' resources, of
graphs like those of the authors' test sets, for every kind of links; then returns on test tasks.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kshot import seeding
from kshot.envs import bandit, offload_dag, tabular_mdp
from kshot.envs.offload_dag import simulator
from kshot.envs.offload_dag.graphs import NOMINAL_BANDWIDTH, NOMINAL_RATIO, generate
from kshot.envs.offload_dag.optimum import optima
from kshot.envs.tabular_mdp import TabularMDPFamily
from kshot.envs.tabular_mdp.posterior_sampling import PosteriorSampling
from kshot.running.rollout import rollout
from kshot.types import Array, Task, TaskFamily

RULES = ("thompson", "greedy", "ucb1")
BANDITS = {(5, 10): 20_000, (10, 10): 20_000, (50, 10): 20_000, (5, 100): 20_000, (10, 100): 20_000, (50, 100): 10_000}
"""(arms, pulls) -> test tasks."""
GRAPHS, OFFLOADING = 400, 180  # graphs of each cell; test tasks of offloading, four episodes each
SLOW = 2_000  # tasks of "thompson" with 50 arms
MDPS, TRIALS = 500, {10: 4, 25: 2}  # test tasks; episodes of a trial -> trials of each task


def keys(n: int) -> Array:
    """[n] one random key per task."""
    return seeding.split(seeding.key("scripted policies", "test", 0), np.arange(n))


def totals(family: TaskFamily, name: str, tasks: Sequence[Task], trials: int = 1) -> Array:
    """[T] total reward of a trial by a scripted policy, mean over ``trials`` of each task."""
    episodes = family.spec.episodes_per_trial
    policy = family.references[name](tasks)
    returns = rollout(family, policy, tasks, keys(len(tasks)), trials, episodes).returns
    return np.asarray(returns.reshape(len(tasks), trials, episodes).sum(axis=2).mean(axis=1))


def told_totals(family: TabularMDPFamily, tasks: Sequence[Task], trials: int) -> Array:
    """[T] the same of posterior sampling that is also told where the last step of an episode led to.

    The random numbers are those of ``totals``.
    """
    settings, lead = family.settings, (len(tasks), trials)
    policy = PosteriorSampling(settings.states, settings.actions, settings.horizon)
    of_trials = seeding.split(keys(len(tasks))[:, None], np.arange(trials)[None, :])
    seeds: Any = [int(value) for value in seeding.split(of_trials, 1).reshape(-1) >> np.uint64(1)]
    memory, total = policy.start(*lead, seeding.split(of_trials, 2)), np.zeros(lead)
    with contextlib.closing(family.vector_env(tasks, trials)) as env:
        for episode in range(settings.episodes_per_trial):
            obs, _ = env.reset(seed=seeds if episode == 0 else None)
            for step in range(settings.horizon):
                action, _, memory = policy.act(obs.reshape(*lead, -1), memory, None)
                obs, reward, _, _, _ = env.step(action.reshape(-1))
                last = step == settings.horizon - 1
                if last:
                    into = obs.reshape(*lead, -1)[..., : settings.states]
                    by = np.eye(settings.actions)[action]
                    came_from = np.eye(settings.states)[memory["state"]]
                    seen = came_from[..., :, None, None] * by[..., None, :, None] * into[..., None, None, :]
                    memory = {**memory, "transitions": memory["transitions"] + seen}
                memory = policy.observe(memory, action, reward.reshape(lead), np.full(lead, last))
                total += reward.reshape(lead)
    return np.asarray(total.mean(axis=1))


def line(name: str, size: str, values: Array) -> str:
    """A row: policy, size, tasks, mean and standard error over tasks."""
    return f"| {name} | {size} | {len(values):,} | {values.mean():.3f} ± {values.std() / len(values) ** 0.5:.3f} |"


def bandits() -> None:
    """Every rule on every size."""
    for (arms, pulls), n in BANDITS.items():
        family = bandit.build(bandit.Settings(arms=arms, pulls=pulls))
        for name in RULES:
            tasks = family.tasks("test", SLOW if name == "thompson" and arms == 50 else n, 0)
            print(line(name, f"{arms} arms, {pulls} pulls", totals(family, name, tasks)), flush=True)


def mdps() -> None:
    """Posterior sampling as everyone sees the world, and told more, on both lengths of trials."""
    for episodes, trials in TRIALS.items():
        family = tabular_mdp.build(tabular_mdp.Settings(episodes_per_trial=episodes))
        tasks, size = family.tasks("test", MDPS, 0), f"{episodes} episodes"
        plain, told = totals(family, "posterior_sampling", tasks, trials), told_totals(family, tasks, trials)
        print(line("posterior sampling", size, plain))
        print(line("told the last step's end", size, told))
        print(line("difference", size, told - plain), flush=True)


def offloading() -> None:
    """Makespans of plans for ``GRAPHS`` graphs of every test cell under all kinds of links, then returns."""
    settings = offload_dag.Settings()
    print(
        "| links | fat, density | all local | all remote | random | `heft` | optimum |\n|---|---|---|---|---|---|---|"
    )
    for links in simulator.LINKS:
        for fat, density in settings.cells("test"):
            of_graphs = seeding.split(seeding.key("scripted policies", "graphs"), np.arange(GRAPHS))
            nodes, widths, densities = (np.full(GRAPHS, value) for value in (settings.nodes, fat, density))
            kind = (settings.ccrs, settings.regularity, settings.nodes)
            graphs = generate(of_graphs, nodes, widths, densities, *kind)
            times = graphs.times(np.full(GRAPHS, NOMINAL_BANDWIDTH), np.full(GRAPHS, NOMINAL_RATIO))
            rest = (graphs.nodes, times, graphs.parents, links)
            shape = graphs.parents.shape
            coins = seeding.uniform(of_graphs[:, None], np.arange(1000, 1000 + shape[1])) < 0.5
            plans = (np.zeros(shape), np.ones(shape), coins, simulator.earliest_finish(*rest), optima(*rest)[0])
            found = [simulator.makespans(plan, *rest) for plan in plans]
            cells = [f"{values.mean():.0f} ± {values.std() / GRAPHS**0.5:.0f}" for values in found]
            print(f"| {links} | {fat:g}, {density:g} | " + " | ".join(cells) + " |", flush=True)
    print("\n| policy | tasks | return | makespan at most 1.02 times the optimum |\n|---|---|---|---|")
    for shown in (settings, offload_dag.Settings(test_tasks="ood")):
        family = offload_dag.build(shown)
        tasks = family.tasks("test", OFFLOADING, 0)
        for name, make in family.references.items():
            played = rollout(family, make(tasks), tasks, keys(OFFLOADING), 4)
            values, success = played.returns.mean(axis=1), played.success_last.mean()
            row = f"{values.mean():.2f} ± {values.std() / OFFLOADING**0.5:.2f} | {success:.3f}"
            print(f"| {name} | {shown.test_tasks} | {row} |", flush=True)


def main() -> None:
    """Print the table of one family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=("bandit", "tabular_mdp", "offload_dag"))
    chosen = parser.parse_args().family
    if chosen == "offload_dag":
        offloading()
        return
    print("| policy | trial | tasks | total |\n|---|---|---|---|")
    (bandits if chosen == "bandit" else mdps)()


if __name__ == "__main__":
    main()

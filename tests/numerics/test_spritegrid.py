"""SpriteGrid: pictures, splits, and experts against the planner."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from kshot import seeding
from kshot.envs import _experts as experts
from kshot.envs import spritegrid
from kshot.envs.spritegrid import pictures
from kshot.learning import planner
from kshot.running.rollout import rollout
from tests.planning import visitations


def test_sprites_are_symmetric_and_let_the_ground_show() -> None:
    masks, colours = pictures.sprites()
    assert masks.shape == (200, 5, 5) and (masks == masks[:, :, ::-1]).all()
    assert (masks.sum(axis=(1, 2)) >= pictures.MIN_COVERED).all()
    assert len(np.unique(masks.reshape(200, -1) * 1.0 + colours.mean(axis=-1).reshape(200, -1), axis=0)) == 200
    cells, ground = np.array([[0, 8, 8]]), np.array([[0, 0, 1]])
    drawn = pictures.render(cells, ground, np.array([5], dtype=np.uint64)).reshape(3, 5, 5, 3)
    assert np.abs(drawn[0].mean(axis=(0, 1)) - pictures.GROUND[0]).max() < 0.05
    np.testing.assert_array_equal(drawn[1][masks[7]], drawn[2][masks[7]])
    hole = ~masks[7]
    assert np.abs(drawn[2][hole].mean(axis=0) - pictures.GROUND[1]).max() < 0.1


def test_splits_share_no_combination_and_unseen_sprites_are_unseen() -> None:
    family = spritegrid.build(spritegrid.Settings())
    found = {
        split: {tuple(sorted(task["sprites"])) for task in family.tasks(split, 300, 0)}
        for split in ("train", "validation", "test")
    }
    assert not (
        found["train"] & found["test"] or found["train"] & found["validation"] or found["validation"] & found["test"]
    )
    unseen = spritegrid.build(spritegrid.Settings(test_sprites="unseen"))
    shown = {split: {s for task in unseen.tasks(split, 300, 0) for s in task["sprites"]} for split in found}
    assert shown == {"train": set(range(100)), "test": set(range(100, 150)), "validation": set(range(150, 200))}
    assert unseen.tasks("train", 5, 0) == family.tasks("train", 5, 0)


def test_arrangements_hold_what_the_task_says() -> None:
    family = spritegrid.build(spritegrid.Settings(side=6, copies=3))
    sprites = np.array([[4, 9, 77]] * 3)
    layouts = family.random_layouts(sprites, np.arange(3, dtype=np.uint64))
    for sprite, count in ((4, 3), (9, 3), (77, 3)):
        assert ((layouts.sprite == 1 + sprite).sum(axis=1) == count).all()
    assert (layouts.sprite[0] != layouts.sprite[1]).any() and 0 < layouts.ground.mean() < 1
    back = spritegrid.Layouts.decode(layouts.encode())
    for name in ("sprite", "ground", "keys"):
        np.testing.assert_array_equal(getattr(back, name), getattr(layouts, name))
    reward = family.reward(sprites, layouts)
    assert (reward[layouts.sprite == 5] >= 3).all() and (
        reward[(layouts.sprite == 10) | (layouts.sprite == 78)] <= -4
    ).all()
    np.testing.assert_array_equal(reward[layouts.sprite == 0], -1.0 * layouts.ground[layouts.sprite == 0])


def test_experts_and_oracles_are_those_of_the_planner() -> None:
    family = spritegrid.build(spritegrid.Settings(side=4, copies=2, horizon=5))
    sprites = np.array([[4, 9, 77], [1, 2, 3]])
    reward = family.reward(sprites, family.random_layouts(sprites, np.arange(2, dtype=np.uint64)))
    table, grid, tensor = spritegrid.successors(4), planner.Grid((4, 4)), torch.tensor(reward)
    np.testing.assert_array_equal(table, grid.gathered.successor.numpy())
    values = planner.soft_values(tensor, grid, 5)
    np.testing.assert_allclose(experts.table_values(reward, table, 5, combine=np.logaddexp), values, atol=1e-12)
    np.testing.assert_allclose(experts.table_values(reward, table, 5), planner.hard_values(tensor, grid, 5), atol=1e-12)

    starts, streams = np.full((2, 40_000), 6), seeding.split(np.arange(2, dtype=np.uint64)[:, None], np.arange(40_000))
    states, actions = experts.soft_paths(table, values.numpy(), starts, streams)
    assert (table[states[..., :-1], actions] == states[..., 1:]).all()
    policy = (planner.action_values(tensor, grid, values) - values[:-1].unsqueeze(-1)).exp()
    visits = visitations(policy, grid, torch.eye(16, dtype=torch.float64)[[6, 6]])[1]
    found = [np.bincount((states[i, :, :-1] * 9 + actions[i]).ravel(), minlength=144) / 40_000 for i in range(2)]
    np.testing.assert_allclose(np.stack(found).reshape(2, 16, 9), visits, atol=0.02)  # of up to 4.2; errors below .006


def test_nothing_that_is_seen_tells_the_goal() -> None:
    """Whatever the order of a task's sprites, each stands on equally many cells, and each order is as likely."""
    family = spritegrid.build(spritegrid.Settings())
    sprites = np.array([task["sprites"] for task in family.tasks("train", 2000, 3)])
    layouts = family.random_layouts(sprites, np.arange(len(sprites), dtype=np.uint64))
    counts = (layouts.sprite[:, :, None] == 1 + sprites[:, None]).sum(axis=1)
    assert (counts == family.settings.copies).all()
    for split, n in (("train", 3000), ("test", 3000), ("validation", 3000)):
        drawn = np.array([task["sprites"] for task in family.tasks(split, n, 5)])
        for share in (drawn.argmin(axis=1) == 0, drawn.argmax(axis=1) == 0):
            assert abs(share.mean() - 1 / 3) < 4 * (2 / 9 / n) ** 0.5


def test_the_blind_reward_is_the_mean_over_what_the_sprites_may_mean() -> None:
    family = spritegrid.build(spritegrid.Settings(side=6, copies=3))
    sprites = np.array([[4, 9, 77], [1, 2, 3]])
    layouts = family.random_layouts(sprites, np.arange(2, dtype=np.uint64))
    meant = [family.reward(np.roll(sprites, turn, axis=1), layouts) for turn in range(3)]
    np.testing.assert_allclose(spritegrid.mean_reward(layouts), np.mean(meant, axis=0))


def test_scripted_policies_that_look_seek_what_they_say() -> None:
    cells = np.zeros((1, 9), dtype=np.int64)
    cells[0, [0, 1, 5]] = 8, 8, 3
    layouts = spritegrid.Layouts(cells, np.zeros_like(cells), np.zeros(1, dtype=np.uint64))
    np.testing.assert_array_equal(spritegrid.rarest_reward(layouts)[0, [0, 1, 5, 8]], [-4, -4, 4, 0])
    np.testing.assert_array_equal(spritegrid.nearest_reward(layouts)[0, [0, 1, 5, 8]], [4, 4, 4, 0])
    cells[0, 8] = 3
    np.testing.assert_array_equal(spritegrid.rarest_reward(layouts)[0, [0, 1, 5, 8]], [-4, -4, 4, 4])


@pytest.mark.parametrize("test_sprites", ["seen", "unseen"])
@pytest.mark.parametrize(("side", "horizon", "copies"), [(12, 18, 8), (16, 24, 14)])
def test_the_floor_is_at_most_a_third_of_the_way_to_the_oracle(
    side: int, horizon: int, copies: int, test_sprites: Literal["seen", "unseen"]
) -> None:
    settings = spritegrid.Settings(side=side, horizon=horizon, copies=copies, test_sprites=test_sprites)
    family = spritegrid.build(settings)
    tasks, keys = family.tasks("test", 24, 0), seeding.split(seeding.key("floor"), np.arange(24))
    earned = {
        name: rollout(family, make(tasks), tasks, keys, 4).returns.mean() for name, make in family.references.items()
    }
    third = earned["random"] + (earned["oracle"] - earned["random"]) / 3
    assert earned["random"] < earned["task_blind"] < third
    assert max(earned["nearest"], earned["rarest"]) < earned["task_blind"]


def test_the_oracle_earns_the_optimal_value_from_where_it_begins() -> None:
    family = spritegrid.build(spritegrid.Settings(side=5, copies=3, horizon=6))
    tasks = family.tasks("train", 4, 0)
    played = rollout(
        family, family.references["oracle"](tasks), tasks, seeding.split(seeding.key("o"), np.arange(4)), 5
    )
    for task in range(4):
        for copy in range(5):
            first = played.obs[task, copy, :1]
            layouts = spritegrid.Layouts.decode(first[0, None, 2:])
            best = experts.table_values(
                family.reward(np.array([tasks[task]["sprites"]]), layouts), spritegrid.successors(5), 6
            )
            start = int(first[0, 0] * 5 + first[0, 1])
            assert abs(played.returns[task, copy] - best[0, 0, start]) < 1e-4


def test_demonstrations_show_one_arrangement_and_other_numbers_show_others() -> None:
    family = spritegrid.build(spritegrid.Settings(side=6, copies=3, horizon=7))
    tasks, keys = family.tasks("train", 2, 0), np.array([1, 2], dtype=np.uint64)
    world = family.spec.world
    assert world is not None
    first, again, other = (
        family.demonstrations(tasks, 4, k, a) for k, a in ((keys, 0), (keys + np.uint64(9), 0), (keys, 1))
    )
    layout = world.layout(first.obs)
    assert (layout == layout[:, :1, :1]).all()
    np.testing.assert_array_equal(layout, world.layout(again.obs))
    assert (world.layout(other.obs) != layout).any() and (first.obs[..., :2] != again.obs[..., :2]).any()


def test_a_place_off_the_grid_is_named() -> None:
    family = spritegrid.build(spritegrid.Settings(side=4, copies=2))
    episodes = family.demonstrations(family.tasks("train", 2, 0), 2, seeding.split(seeding.key("off"), np.arange(2)))
    obs = episodes.obs.copy()
    obs[0, 1, 2, 0] = 4
    with pytest.raises(ValueError, match="demonstration 1 of task 0 has places that are not among the states"):
        family.spec.world.paths(replace(episodes, obs=obs))  # type: ignore[union-attr]  # it has a world

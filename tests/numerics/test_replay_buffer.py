"""Replay buffers: what goes in comes out, in rings per task, and states survive a round trip exactly."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces

from kshot.learning import replay_buffer
from kshot.learning.replay_buffer import ReplayBuffer, buffer_bytes, next_observations, require_ram
from kshot.types import Array, Episodes, FamilySpec

D, A, H = 3, 2, 5
SPEC = FamilySpec("probe", D, spaces.Box(-1, 1, (A,)), horizon=H, episodes_per_trial=1)


def numbered(lengths: Array, start: int = 0) -> Episodes:
    """Episodes [T, E] of given lengths whose real steps carry the numbers start, start + 1, ... in their rewards."""
    lengths = np.asarray(lengths)
    mask = np.arange(H) < lengths[..., None]
    number = np.where(mask, (np.cumsum(mask) - 1).reshape(mask.shape) + start, -1).astype(np.float32)
    obs = np.repeat(number[..., None], D, axis=-1) + np.arange(D, dtype=np.float32) / 10
    last = np.arange(H) == lengths[..., None] - 1
    return Episodes(
        obs=obs,
        action=np.repeat(number[..., None], A, axis=-1) + 0.5,
        reward=number,
        terminated=last & (lengths[..., None] < H),
        truncated=last & (lengths[..., None] == H),
        mask=mask,
        log_prob=np.zeros_like(number),
        success=np.zeros(mask.shape, dtype=bool),
        final_obs=np.full((*lengths.shape, D), 77.0, dtype=np.float32),
        training_reward=number * 10,
    )


def held(buffer: ReplayBuffer, task: int) -> list[float]:
    """Rewards of all transitions of a task, sorted."""
    return sorted(buffer.take(np.array([task]), np.arange(buffer.size[task])[None]).reward[0].tolist())


def test_fields_keep_their_values_and_padding_is_left_out() -> None:
    buffer = ReplayBuffer(SPEC, n_tasks=3, capacity=20)
    episodes = numbered([[2, 5], [3, 1]])
    buffer.add(np.array([2, 0]), episodes)
    assert buffer.size.tolist() == [4, 0, 7]
    steps = buffer.take(np.array([2, 0]), np.tile(np.arange(4), (2, 1)))
    np.testing.assert_array_equal(steps.reward, [[0, 1, 2, 3], [7, 8, 9, 10]])
    np.testing.assert_array_equal(steps.training_reward, steps.reward * 10)
    np.testing.assert_array_equal(steps.obs[..., 0], steps.reward)
    np.testing.assert_array_equal(steps.action[..., 1], steps.reward + 0.5)
    # Ends: lengths 2 and 5 of the first task, 3 and 1 of the second; the time limit (length 5) is no termination.
    np.testing.assert_array_equal(steps.terminated, [[0, 1, 0, 0], [0, 0, 1, 1]])
    np.testing.assert_array_equal(steps.next_obs[..., 0], [[1, 77, 3, 4], [8, 9, 77, 77]])


def test_next_observation_of_the_last_step_is_the_final_one() -> None:
    following = next_observations(numbered([[5, 2]]))
    np.testing.assert_array_equal(following[0, 0, :, 0], [1, 2, 3, 4, 77])
    np.testing.assert_array_equal(following[0, 1, :2, 0], [6, 77])


def test_the_oldest_transitions_make_room() -> None:
    buffer = ReplayBuffer(SPEC, n_tasks=2, capacity=7)
    for round_ in range(4):
        buffer.add(np.array([1]), numbered([[3, 1]], start=10 * round_))
    assert buffer.size.tolist() == [0, 7]
    assert held(buffer, 1) == [21, 22, 23, 30, 31, 32, 33]


def test_more_than_fits_at_once_leaves_the_newest() -> None:
    buffer = ReplayBuffer(SPEC, n_tasks=1, capacity=4)
    buffer.add(np.array([0]), numbered([[1]], start=50))
    buffer.add(np.array([0]), numbered([[5, 5]]))
    assert held(buffer, 0) == [6, 7, 8, 9]
    buffer.add(np.array([0]), numbered([[2]], start=20))
    assert held(buffer, 0) == [8, 9, 20, 21]


def test_samples_are_uniform_over_what_is_held_and_depend_on_the_generator_alone() -> None:
    buffer = ReplayBuffer(SPEC, n_tasks=2, capacity=100)
    buffer.add(np.arange(2), numbered([[5], [3]]))
    tasks = np.array([1, 0, 1])
    drawn = buffer.sample(np.random.default_rng(0), tasks, 30_000)
    again = buffer.sample(np.random.default_rng(0), tasks, 30_000)
    np.testing.assert_array_equal(drawn.reward, again.reward)
    counts = [np.unique(row, return_counts=True) for row in drawn.reward]
    assert counts[0][0].tolist() == [5, 6, 7] and counts[1][0].tolist() == [0, 1, 2, 3, 4]
    for _, count in counts:
        np.testing.assert_allclose(count, count.mean(), rtol=0.05)


def test_sampling_from_a_cleared_task_is_refused() -> None:
    buffer = ReplayBuffer(SPEC, n_tasks=2, capacity=100)
    buffer.add(np.arange(2), numbered([[5], [3]]))
    buffer.clear(np.array([1]))
    assert held(buffer, 0) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="no transitions of task 1"):
        buffer.sample(np.random.default_rng(0), np.array([0, 1]), 2)


def test_the_same_task_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        ReplayBuffer(SPEC, n_tasks=2, capacity=9).add(np.array([1, 1]), numbered([[1], [1]]))


def test_state_goes_round_exactly_and_holds_only_what_is_filled() -> None:
    buffer = ReplayBuffer(SPEC, n_tasks=3, capacity=7)
    buffer.add(np.array([0, 2]), numbered([[5, 4], [2, 1]]))
    state = buffer.state_dict()
    assert len(state["rows"]) == 7 + 0 + 3
    copy = ReplayBuffer(SPEC, n_tasks=3, capacity=7)
    copy.add(np.array([1]), numbered([[5]]))
    copy.load_state_dict(state)
    more = numbered([[3], [2], [5]], start=30)
    for each in (buffer, copy):
        each.add(np.arange(3), more)
    tasks = np.array([0, 1, 2, 2])
    for one, two in zip(
        buffer.sample(np.random.default_rng(1), tasks, 50),
        copy.sample(np.random.default_rng(1), tasks, 50),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(buffer.state_dict().values(), copy.state_dict().values(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_state_of_another_shape_is_refused() -> None:
    buffer = ReplayBuffer(SPEC, n_tasks=1, capacity=9)
    buffer.add(np.array([0]), numbered([[5]]))
    for other in (
        ReplayBuffer(SPEC, 2, 9),
        ReplayBuffer(SPEC, 1, 4),
        ReplayBuffer(replace(SPEC, observation_dim=4, **_NO_SCALE), 1, 9),
    ):
        with pytest.raises(ValueError, match="cannot hold"):
            other.load_state_dict(buffer.state_dict())


_NO_SCALE = {"observation_center": np.zeros(0), "observation_scale": np.ones(0)}


def test_memory_is_stated_exactly_and_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = ReplayBuffer(SPEC, n_tasks=3, capacity=7)
    assert buffer_bytes(SPEC, 3, 7) == buffer._rows.nbytes == 3 * 7 * (D + A + 1 + 1 + D + 1) * 4
    monkeypatch.setattr(replay_buffer, "ram_limit", lambda: 10 * 10**9)
    require_ram(8 * 10**9, "buy more")
    with pytest.raises(OSError, match=r"^the replay buffer needs 8\.1 GB .* 8\.0 GB .*; buy more$"):
        require_ram(8_100_000_000, "buy more")


def test_the_memory_limit_is_a_plausible_size() -> None:
    assert 10**8 < replay_buffer.ram_limit() < 10**15

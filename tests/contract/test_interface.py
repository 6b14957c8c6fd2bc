"""The public interface: its table, its policies in foreign loops, its evaluations and its curves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import kshot
from kshot import checksums, records, seeding
from kshot.interface import bars, before, frames
from kshot.reporting import csv_files
from kshot.reporting.aggregate import aggregate
from kshot.running import build, workflow
from kshot.running.evaluate import evaluate
from kshot.running.rollout import rollout
from kshot.running.train import train
from kshot.types import DemonstrationFamily, Episodes
from tests import synthetic
from tests.contract import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a learner on blocks, one with a memory, one that draws its task and one from experts."""
    root = tmp_path_factory.mktemp("results")
    for pair in (("maml", "nav2d"), ("rl2", "bandit"), ("pearl", "nav2d_sparse"), ("contextual_irl", "bandit")):
        train(tiny.run(*pair), root)
    return root


def folder(root: Path, algorithm: str, family: str) -> Path:
    return tiny.run(algorithm, family).directory(root)


@pytest.mark.parametrize("names", ["maml-nav2d", "rl2-bandit", "pearl-nav2d_sparse"])
@pytest.mark.parametrize("mode", ["sampled", "mean"])
def test_a_foreign_loop_plays_and_adapts_as_the_runner_does(trained: Path, names: str, mode: Any) -> None:
    """Side by side and one after the other: rounds of copies are the runner's copies, with the same random numbers."""
    algorithm, family_name = names.split("-")
    policy = kshot.load_policy(folder(trained, algorithm, family_name))
    tasks, block, rounds = policy.family.tasks("test", 3, 0), policy.block, 2 if policy.block > 1 else 1
    copies = block // rounds if block > 1 else 1
    assert copies * rounds == block
    policy.reset(tasks=3, copies=copies, seed=5)
    learner = policy._learner
    expected_policy = learner.policy()
    for update in range(2):
        keys = seeding.split(seeding.key(5, "policy", update), np.arange(3))
        expected = rollout(policy.family, expected_policy, tasks, keys, block, mode=mode)
        env_seeds = (seeding.split(seeding.split(keys[:, None], np.arange(block)), 1) >> np.uint64(1)).astype(int)
        for r in range(rounds):
            env = policy.family.vector_env(tasks, copies)
            seeds: Any = env_seeds[:, r * copies : (r + 1) * copies].reshape(-1).tolist()
            obs, _ = env.reset(seed=seeds)
            done = np.zeros(env.num_envs, dtype=bool)
            while not done.all():
                obs, reward, terminated, truncated, _ = env.step(policy.act(obs, mode))
                policy.record(obs, reward, terminated, truncated)
                done |= terminated | truncated
            env.close()
        assert policy.waiting == block
        # Rounds of several copies come one after the other: put the runner's into that order.
        _assert_same(Episodes.joined(policy._recorded), expected.as_evidence())
        policy.adapt()
        expected_policy = learner.adapt(expected_policy, expected.as_evidence())
        assert (policy.k, policy.waiting) == ((update + 1) * block, 0)


def _assert_same(played: Episodes, expected: Episodes) -> None:
    for name in ("obs", "action", "reward", "terminated", "truncated", "mask", "log_prob"):
        mask = expected.mask.reshape(*expected.mask.shape, *(1,) * (getattr(expected, name).ndim - 3))
        np.testing.assert_array_equal(getattr(played.as_evidence(), name), getattr(expected, name) * mask, name)
    np.testing.assert_array_equal(played.final_obs, expected.final_obs)


def test_one_plain_environment_is_a_batch_of_one(trained: Path) -> None:
    policy = kshot.load_policy(folder(trained, "maml", "nav2d"))
    one, obs = [], np.array([0.1, -0.2])
    policy.reset()
    for t in range(policy.spec.horizon):
        action = policy.act(obs)
        assert action.shape == (2,) and policy.spec.action_space.contains(action)
        one.append(action)
        policy.record(obs, -1.0, False, t == policy.spec.horizon - 1)
    policy.reset(tasks=1)
    batch = [policy.act(obs[None])]
    np.testing.assert_array_equal(batch[0][0], one[0])
    pulls = kshot.load_policy(folder(trained, "rl2", "bandit"))
    assert type(pulls.act(np.ones(1))) is int


def test_episodes_wait_until_a_block_is_whole(trained: Path) -> None:
    policy = kshot.load_policy(folder(trained, "maml", "nav2d"))
    assert policy.block == 2

    def play() -> None:
        policy.act(np.zeros(2))
        policy.record(np.zeros(2), -0.5, True, False)

    for _ in range(3):
        play()
    policy.adapt()
    assert (policy.k, policy.waiting) == (2, 1)
    assert "K = 2 (episodes come in blocks of 2, 1 waiting)" in repr(policy)
    play()
    policy.adapt()
    assert (policy.k, policy.waiting) == (4, 0)
    policy.reset()
    assert (policy.k, policy.waiting) == (0, 0)


def test_what_a_loop_does_wrong_is_said_in_one_line(trained: Path) -> None:
    policy = kshot.load_policy(folder(trained, "rl2", "bandit"))
    one = np.ones(1)

    def said(call: Any) -> str:
        with pytest.raises(ValueError) as error:
            call()
        assert "\n" not in str(error.value)
        return str(error.value)

    assert said(lambda: policy.record(one, 0.0, True, False)) == "record says what an action led to: call act first"
    assert said(policy.adapt).startswith("there is nothing to adapt on")
    assert said(lambda: policy.act(np.ones(3))) == "observation has shape (3,), expected 1 numbers"
    assert said(lambda: policy.act([np.nan])) == "observation is not finite"
    assert said(lambda: policy.act(one, "best")) == "mode must be 'sampled' or 'mean', got 'best'"  # type: ignore[arg-type]
    policy.act(one)
    assert said(lambda: policy.act(one)).startswith("the last action was not recorded")
    assert said(policy.adapt).startswith("an episode has not ended")
    assert said(lambda: policy.record(one, np.inf, True, False)) == "reward is not finite"
    policy.record(one, 1.0, False, False)
    assert "have the environment truncate them" in said(lambda: policy.act(one))
    assert said(lambda: policy.reset(copies=2)).startswith("one plain environment has no copies")
    assert said(lambda: policy.reset(tasks=0)) == "tasks and copies must be at least 1, got 0 and 1"
    policy.reset(tasks=2)
    assert said(lambda: policy.act(one)).endswith("expected [2, ...], 1 numbers for each environment")
    policy.reset()
    for _ in range(3):
        policy.act(one)
        policy.record(one, 1.0, True, False)
    assert said(policy.adapt) == "'rl2' can use 2 episodes of a task, and would have 3; reset()"


def test_demonstrations_are_given(trained: Path) -> None:
    policy = kshot.load_policy(folder(trained, "contextual_irl", "bandit"))
    tasks = policy.family.tasks("test", 2, 0)
    assert isinstance(policy.family, DemonstrationFamily)
    shown = policy.family.demonstrations(tasks, 2, seeding.split(1, np.arange(2)))
    policy.reset(tasks=2)
    with pytest.raises(ValueError, match="adapts on demonstrations: adapt\\(episodes\\)"):
        policy.adapt()
    with pytest.raises(ValueError, match="episodes of 1 tasks, but 2 are played"):
        policy.adapt(shown.select(slice(1)))
    before = policy.act(np.ones((2, 1)), "mean")
    policy.reset(tasks=2)
    policy.adapt(shown)
    assert policy.k == 2 and policy.act(np.ones((2, 1)), "mean").shape == before.shape
    scores = kshot.evaluate(policy, tasks=2, k=[0, 1])
    assert set(scores["evidence"]) == {"demonstrations"} and list(scores["k"]) == [0, 1]
    assert policy.k == 2, "an evaluation leaves the policy as it was"


def test_a_policy_knows_the_tasks_of_the_suite_whatever_the_order_of_their_parameters(tmp_path: Path) -> None:
    """A record holds settings in alphabetic order, a suite in any."""
    run = tiny.run("rl2", "gymnasium")
    names = {"length": [0.25, 1.0], "gravity": [5.0, 15.0], "force_mag": {"values": [-10.0, 10.0]}}
    run = replace(run, family_settings={"environment": "CartPole-v1", "horizon": 20, "task": {"attributes": names}})
    train(run, tmp_path)
    evaluate(run, tmp_path)
    policy = kshot.load_policy(run.directory(tmp_path))
    curve = records.read_table(run.directory(tmp_path) / "curve.parquet", records.CURVE_SCHEMA)
    tasks = policy.family.tasks("test", run.evaluation.tasks, 0)
    assert [task.id for task in tasks] == list(dict.fromkeys(curve["task"]))


def _edit(path: Path, **changes: Any) -> None:
    """Change a record as if its step had written it so."""
    record = checksums.read_record(path)
    files = list(record.pop("files"))
    checksums.write_record(path, record | changes, files)


def test_folders_that_hold_no_policy_for_this_code_are_refused(trained: Path, tmp_path: Path) -> None:
    source = folder(trained, "rl2", "bandit")

    def refused(change: Any) -> str:
        copy = tmp_path / "copy"
        shutil.copytree(source, copy, dirs_exist_ok=True)
        change(copy)
        with pytest.raises(kshot.RecordError) as error:
            kshot.load_policy(copy)
        assert "\n" not in str(error.value)
        return str(error.value)

    with pytest.raises(kshot.RecordError, match=f"not the folder of a trained run; did you mean {source.parent}/"):
        kshot.load_policy(source.parent)
    with pytest.raises(kshot.RecordError, match="not the folder of a trained run, such as results/SUITE"):
        kshot.load_policy(tmp_path / "nowhere")
    other = refused(lambda at: _edit(at / "run.json", source_digest="0123456789abcdef"))
    assert "made by source 0123456789abcdef" in other and other.endswith("take it as it is with other_code=True")
    assert kshot.load_policy(tmp_path / "copy", other_code=True).run.algorithm == "rl2"
    assert "training diverged (why)" in refused(lambda at: _edit(at / "run.json", status="diverged", reason="why"))
    assert "of another version" in refused(lambda at: _edit(at / "run.json", run={"suite": "x", "colour": 1}))
    assert "of another version" in refused(lambda at: _edit(at / "run.json", run={"suite": "x"}))
    assert "do not have the fingerprint" in refused(lambda at: _edit(at / "run.json", train_hash="0"))

    def break_model(at: Path) -> None:
        data = bytearray((at / "model.pt").read_bytes())
        data[len(data) // 2] ^= 1
        (at / "model.pt").write_bytes(bytes(data))

    assert "model.pt: is not as it was written" in refused(break_model)
    assert "model.pt: no such file" in refused(lambda at: (at / "model.pt").unlink())


def test_an_evaluation_gives_the_pipelines_own_numbers(trained: Path, tmp_path: Path) -> None:
    run = tiny.run("rl2", "bandit")
    shutil.copytree(run.directory(trained), run.directory(tmp_path))
    evaluate(run, tmp_path)
    aggregate([run], tmp_path)
    filed = csv_files.read(tmp_path / "contract" / "scores.csv", (), "kshot aggregate")
    found = kshot.evaluate(run.directory(trained), tasks=2)
    for metric in ("return", "success_last", "trial_return"):
        rows = filed[(filed["metric"] == metric) & (filed["mode"] == "sampled")]
        np.testing.assert_array_equal(found[metric].unique() if len(rows) == 1 else found[metric], rows["score"])
    assert not list(run.directory(trained).glob("curve.parquet")), "nothing is written beside the run"


def test_evaluations_elsewhere_and_of_scripts(trained: Path) -> None:
    policy = kshot.load_policy(folder(trained, "rl2", "bandit"))
    settings = {"arms": 3, "pulls": 3, "expert_beta": 1.0}
    there = kshot.evaluate(policy, {"family": "bandit", "settings": settings}, tasks=5, k=1)
    assert there["n_tasks"].tolist() == [5, 5] and there["family"].tolist() == ["bandit"] * 2
    oracle = kshot.evaluate("oracle", {"family": "bandit", "settings": settings}, tasks=50, episodes=20)
    run = replace(tiny.run("rl2", "bandit"), algorithm="oracle", algorithm_module=None)
    known = [max(task["means"]) for task in build.family(run).tasks("test", 50, 0)]
    assert oracle["return"].iloc[0] == pytest.approx(np.mean(known), abs=4 * 0.5 / np.sqrt(50 * 20))
    said = {
        "unknown task family 'bandt' \\(did you mean 'bandit'\\?\\)": lambda: kshot.evaluate(policy, "bandt"),
        "trained with 1 observed numbers and Discrete\\(3\\)": lambda: kshot.evaluate(policy, "gridnavi", k=0),
        "needs .* actions|cannot run on family": lambda: kshot.evaluate(
            folder(trained, "pearl", "nav2d_sparse"), "bandit"
        ),
        "suite 'smoke': no family 'bandi'": lambda: kshot.evaluate(policy, "smoke/bandi"),
        "must be at least 1, got 0": lambda: kshot.evaluate(policy, tasks=0),
        "must increase and start with 0": lambda: kshot.evaluate(policy, k=[3]),
        "say on which family": lambda: kshot.evaluate("oracle"),
        "names its 'family'": lambda: kshot.evaluate(policy, {"settings": {}}),
    }
    for text, call in said.items():
        with pytest.raises(kshot.ConfigError, match=text):
            call()
    with pytest.raises(kshot.RecordError, match="no reference policy 'orcle' \\(did you mean 'oracle'"):
        kshot.evaluate("orcle", "bandit")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A suite of five seeds with a family of several classes, one run diverged and one missing; and its table."""
    root = tmp_path_factory.mktemp("made-up")
    families = [synthetic.POINT, replace(synthetic.ML10, n_tasks=10)]
    runs = synthetic.runs_of(families, learners=("maml", "rl2", "pearl"))
    for run in runs:
        family = next(one for one in families if one.name == run.family)
        fate = (run.family, run.algorithm, run.seed)
        if fate != ("point", "rl2", 3):
            status = "diverged" if fate == ("point", "rl2", 4) else "ok"
            synthetic.write_run(family, run, root, status=status)
    (root / "made-up" / "suite.yaml").write_text(json.dumps(_suite(families)))
    frame = kshot.load_results("made-up", root=root)
    return root, frame


def _suite(families: list[synthetic.Family]) -> dict[str, Any]:
    """A resolved suite, with its facts, that asks for the runs of ``synthetic.runs_of``."""
    names = ("maml", "rl2", "pearl")
    cells = {
        f.name: {"steps": 1_000_000, "evaluation": {"tasks": f.n_tasks, "k": list(f.k)}, "family": f.name}
        for f in families
    }
    facts = {
        "families": {f.name: {"headline": f.headline} for f in families},
        "algorithms": {name: synthetic.facts_of(name) for name in names},
    }
    return {
        "name": "made-up",
        "seeds": list(range(5)),
        "families": cells,
        "algorithms": {n: {} for n in names},
        "facts": facts,
    }


def test_the_table_holds_every_run_and_means_of_its_episodes(made_up: tuple[Path, pd.DataFrame]) -> None:
    root, frame = made_up
    assert tuple(frame.columns) == frames.COLUMNS and not frame.duplicated(list(frames.KEYS)).any()
    states = frame.groupby(["family", "algorithm", "seed"])["state"].first()
    assert states["point", "rl2", 3] == "missing" and states["point", "rl2", 4] == "diverged"
    assert (states == "ok").sum() == len(states) - 2 == 2 * 3 * 5 + 2 * 3 - 2
    assert frame.loc[frame["state"] != "ok", list(frames.METRICS)].isna().all(axis=None)
    curve = records.read_table(root / "made-up/ml10/pearl/seed-2/curve.parquet", records.CURVE_SCHEMA)
    assert set(frame.loc[frame["algorithm"] == "pearl", "actions"]) == {"mean"}
    expected = (
        curve[curve["mode"] == "mean"].groupby(["k", "group"], observed=True)["return"].mean().groupby("k").mean()
    )
    rows = frame.query("family == 'ml10' and algorithm == 'pearl' and seed == 2").set_index("k")
    np.testing.assert_allclose(rows["return"], expected)
    every = kshot.load_results(root / "made-up", actions="both", classes=True)
    assert set(every["group"]) == {"all", *synthetic.ML10.classes} and set(every["actions"]) == {"", "mean", "sampled"}
    with pytest.raises(kshot.ConfigError, match="no suite with results, and no folder of results"):
        kshot.load_results("made-upp", root=root)


def test_a_curve_has_the_intervals_of_the_report(made_up: tuple[Path, pd.DataFrame]) -> None:
    root, frame = made_up
    ax = kshot.plot_k_curve(frame[frame["family"] == "point"])
    by_label = {text.get_text(): i for i, text in enumerate(ax.get_legend().get_texts())}
    assert list(by_label) == ["maml", "rl2", "pearl", "random", "task-blind", "oracle"]
    side = aggregate_rows(root)
    summary = side[(side["family"] == "point") & (side["metric"] == "return") & (side["algorithm"] == "pearl")]
    summary = summary[summary["mode"] == "mean"].sort_values("k")
    bands = [band.get_paths()[0].vertices for band in ax.collections]
    ends = {(float(x), round(float(y), 9)) for vertices in bands for x, y in vertices}
    # Learners that adapt on single episodes were evaluated at points apart: whiskers; blocks of ten are bands.
    whiskers = [line.get_xydata() for line in ax.lines if len(line.get_xydata()) == 2]
    ends |= {(float(x), round(float(y), 9)) for line in whiskers for x, y in line}
    for row in summary.itertuples():
        assert {(float(row.k), round(end, 9)) for end in (row.mean_lo, row.mean_hi)} <= ends
    means = {round(float(y), 9) for line in ax.lines for y in np.asarray(line.get_ydata(), dtype=float)}
    assert set(summary["mean"].round(9)) <= means
    plt.close(ax.figure)
    figure, own = plt.subplots()
    assert kshot.plot_k_curve(frame[frame["family"] == "ml10"], own, metric="success_last") is own
    plt.close(figure)


def aggregate_rows(root: Path) -> pd.DataFrame:
    """``summary.csv`` of the made-up suite."""
    from kshot.suites.reading import load_suite

    aggregate(load_suite(root / "made-up" / "suite.yaml", recorded=True).runs(), root, partial=True)
    return csv_files.read(root / "made-up" / "summary.csv", (), "kshot aggregate")


def test_tables_that_make_no_curve_are_refused(made_up: tuple[Path, pd.DataFrame]) -> None:
    _, frame = made_up
    point = frame[frame["family"] == "point"]
    other = point[point["kind"] == "algorithm"].assign(evidence="demonstrations", algorithm="replay", actions="mean")
    for rows, text in (
        (frame, r"several values of 'family' \('point', 'ml10'\); choose one, for example frame\[frame\['family'\]"),
        (pd.concat([point, other]), "several values of 'evidence'"),
        (pd.concat([point, point.assign(actions="mean")]), "several values of 'actions'"),
        (pd.concat([point, point]), "put together with itself"),
        (point.drop(columns="block"), "this one has no 'block'"),
        (point[point["state"] == "missing"], "no row of the frame has a return"),
    ):
        with pytest.raises(ValueError, match=text):
            kshot.plot_k_curve(rows)
    with pytest.raises(ValueError, match="metric 'trial_return' is no score that depends on K"):
        kshot.plot_k_curve(point, metric="trial_return")


def test_every_public_name_is_documented_and_typed() -> None:
    page = (Path(kshot.__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    for name in kshot.__all__:
        assert getattr(kshot, name).__doc__ and (f"kshot.{name}" in page or name == "TrainedPolicy"), name
        assert name in dir(kshot)
    described = str(kshot.load_results.__doc__)
    assert all(f"``{column}``" in described for column in frames.COLUMNS)
    with pytest.raises(AttributeError, match="module 'kshot' has no attribute 'nothing'"):
        kshot.nothing  # noqa: B018


@pytest.mark.parametrize(("status", "error"), [(1, kshot.PipelineError), (130, KeyboardInterrupt)])
def test_a_pipeline_that_does_not_end_well_is_an_error(
    status: int, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "run", lambda *arguments: {"smoke": status}[arguments[-1]])
    monkeypatch.setattr(before, "refused", lambda suite: [])
    with pytest.raises(error, match="see logs/smoke/snakemake.log" if status == 1 else None):
        kshot.run("smoke", cores=1, options=["--config", "seeds=[0]"])
    with pytest.raises(kshot.ConfigError, match="no suite 'smok'"):
        kshot.run("smok")


def test_what_jobs_would_refuse_is_told_before_any_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "run", None)
    monkeypatch.chdir(tmp_path)
    evaluation = {"tasks": 2, "k": [0, 1, 2]}
    suite = {"name": "mine", "seeds": [0], "families": {"bandit": {"steps": 10, "evaluation": evaluation}}}
    (tmp_path / "mine.yaml").write_text(json.dumps(suite | {"algorithms": {"maml": {}}}))
    text = r"^mine.yaml:1: families.bandit.evaluation.k: for 'maml', the learner adapts on 10 episodes at a time, but "
    with pytest.raises(kshot.ConfigError, match=text):
        kshot.run("mine.yaml")


def test_a_bar_says_how_far_it_is() -> None:
    assert (
        bars.line("maml on nav2d", 200, 400, 12.0)
        == f"maml on nav2d  [{'#' * 15}{'.' * 15}]  200/400 episodes, 12 s left"
    )
    assert bars.line("x", 0, 0, 1.0).endswith("0/0 episodes")

"""A learner computes the same on a CUDA device as on the processor, to rounding, and its model is at home on both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kshot import records
from kshot.running import checkpoint
from kshot.running.evaluate import evaluate
from kshot.running.train import train
from tests.contract import tiny

LEARNERS = {
    pair.values[0]: pair for pair in sorted(tiny.compatible(), key=lambda pair: pair.values[1] in ("bandit", "nav2d"))
}
"""One family for every learner: point navigation where it can play that, else the bandit."""

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.parametrize(("algorithm", "family"), LEARNERS.values())
def test_a_meta_step_and_adaptation_agree_on_both_devices(tmp_path: Path, algorithm: str, family: str) -> None:
    flat, curves = {}, {}
    for device in ("cpu", "cuda"):
        # One meta-step: rounding grows from step to step, since experience follows from what was learnt.
        run = replace(tiny.run(algorithm, family), device=device, steps=1)
        train(run, tmp_path / device)
        evaluate(run, tmp_path / device)
        model = checkpoint.load(run.directory(tmp_path / device) / checkpoint.MODEL)
        flat[device] = np.concatenate(
            [value.double().cpu().numpy().ravel() for value in _tensors(model["learner"])] or [np.zeros(0)]
        )
        curve = run.directory(tmp_path / device) / "curve.parquet"
        curves[device] = records.read_table(curve, records.CURVE_SCHEMA)
    np.testing.assert_allclose(flat["cuda"], flat["cpu"], rtol=5e-3, atol=5e-4)
    assert list(curves["cuda"]["task"]) == list(curves["cpu"]["task"])
    first = [frame.loc[(frame["k"] == 0) & (frame["mode"] == "mean"), "return"].mean() for frame in curves.values()]
    assert first[0] == pytest.approx(first[1], rel=0.02, abs=0.05)


def _tensors(state: object) -> list[torch.Tensor]:
    """All floating-point tensors of a nested state, in its order."""
    if isinstance(state, torch.Tensor):
        return [state] if state.is_floating_point() else []
    values = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else ()
    return [tensor for value in values for tensor in _tensors(value)]

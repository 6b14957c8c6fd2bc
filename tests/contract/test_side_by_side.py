"""What several processes make at once is what one makes."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from kshot.errors import PipelineError, RecordError
from kshot.reporting import side_by_side
from kshot.reporting.faults import Faults

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one process makes everything"),
]


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")


def test_other_processes_make_the_items_in_their_order() -> None:
    made = side_by_side.each(lambda item: (item**2, os.getpid()), range(20))
    assert [square for square, _ in made] == [item**2 for item in range(20)]
    assert os.getpid() not in {process for _, process in made}


def test_one_thread_is_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert side_by_side.each(lambda _: os.getpid(), range(3)) == [os.getpid()] * 3


def test_faults_of_other_processes_are_noted_once() -> None:
    faults = Faults()
    with faults.caught("figure first"):
        raise ValueError("before")

    def make(item: int) -> int:
        with faults.caught(f"figure {item % 2}"):
            return 1 // (item % 2)
        return 0

    assert faults.each(make, range(6)) == [0, 1, 0, 1, 0, 1]
    assert [line.partition(":")[0] for line in faults.lines] == ["figure first", "figure 0"]


def test_results_that_cannot_be_read_end_everything() -> None:
    def make(item: int) -> int:
        with faults.caught("figure"):
            raise RecordError(f"file {item} is damaged")
        return item

    faults = Faults()
    with pytest.raises(RecordError, match="file 0 is damaged"):
        faults.each(make, range(4))


def test_a_killed_process_is_one_line_that_says_what_to_do() -> None:
    with pytest.raises(PipelineError, match=r"one of 3 processes was killed.*OMP_NUM_THREADS=1"):
        side_by_side.each(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(3))

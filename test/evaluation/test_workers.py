# SPDX-License-Identifier: Apache-2.0
"""Jobs here and in processes: the same results, and errors that reach the one who asked."""

from __future__ import annotations

import importlib.util
import math

import pytest

from edgevlm_ros.evaluation.workers import WorkerError, spread

JOBS = [25.0, 16.0, 9.0, 4.0]


def test_processes_give_what_this_one_gives() -> None:
    here = dict(spread(math.sqrt, JOBS))
    assert here == {0: 5.0, 1: 4.0, 2: 3.0, 3: 2.0}
    assert dict(spread(math.sqrt, JOBS, workers=2)) == here


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_job_raises_is_raised_here(workers: int) -> None:
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        list(spread(math.sqrt, [1.0, -1.0], workers))


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed here")
def test_without_ray_it_is_said_how_to_get_it() -> None:
    with pytest.raises(WorkerError, match=r"requirements/evaluate\.txt"):
        list(spread(math.sqrt, JOBS, ray=True))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed here")
def test_ray_gives_what_this_process_gives() -> None:
    assert dict(spread(math.sqrt, JOBS, ray=True)) == dict(spread(math.sqrt, JOBS))

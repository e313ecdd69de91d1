# SPDX-License-Identifier: Apache-2.0
"""The same function on many jobs: here, in processes of this machine, or on a Ray cluster, with the same results.

A function and its jobs are plain data, a job knows nothing of the others, and no worker writes to a disk: so it does
not matter where and in which order they are done.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerError(RuntimeError):
    """Jobs cannot be done; the message says why and what to do."""


def spread(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int = 1, ray: bool = False
) -> Iterator[tuple[int, Result]]:
    """The place of each job and its result, as they are done. workers: processes; 1 does all here. ray: on the cluster
    that RAY_ADDRESS names, or on this machine if there is none. Raises WorkerError, and what the function raises."""
    if ray:
        yield from _on_ray(function, jobs)
    elif workers <= 1 or len(jobs) <= 1:
        yield from ((place, function(job)) for place, job in enumerate(jobs))
    else:
        yield from _in_processes(function, jobs, min(workers, len(jobs)))


def _in_processes(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[tuple[int, Result]]:
    # spawned: torch's threads and locks do not survive a fork
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _one_thread)
    try:
        futures = {pool.submit(function, job): place for place, job in enumerate(jobs)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise WorkerError("a worker was killed, perhaps for want of memory: try again with fewer --jobs") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def _on_ray(function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError as error:
        raise WorkerError("--ray needs Ray: pip install -r requirements/evaluate.txt") from error
    begun = not ray.is_initialized()
    if begun:
        ray.init(log_to_driver=False, include_dashboard=False)
    try:
        remote: Any = ray.remote(num_cpus=1)(_alone).remote
        pending = {remote(function, job): place for place, job in enumerate(jobs)}
        while pending:
            done, _ = ray.wait(list(pending), num_returns=1)
            yield pending.pop(done[0]), ray.get(done[0])
    finally:
        if begun:
            ray.shutdown()


def _alone(function: Callable[[Job], Result], job: Job) -> Result:
    """One job in a Ray worker."""
    _one_thread()
    return function(job)

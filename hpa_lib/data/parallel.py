"""One task over many jobs in processes of their own: results in order, a bounded number under way, none left behind.

And the progress bar of whatever takes long.
"""

import collections
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2
from tqdm import tqdm

AHEAD = 4  # jobs per process that may be under way or wait for the caller


def count_cores() -> int:
    """The cores this process may use: a batch system may lend a part, ``OMP_NUM_THREADS`` may ask for fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(threads)) if threads.isdecimal() and int(threads) else cores


def bar(items: Iterable | None = None, *, show: bool = True, **options) -> tqdm:
    """A progress bar over ``items``, or of ``total`` steps; none where ``TQDM_DISABLE`` is set, as ``hpa run`` does.

    Args:
        items: what to go through; None for a bar that is updated by hand.
        show: False for none.
        options: of ``tqdm``, such as ``total``, ``desc``, ``unit``.
    """
    hidden = not show or os.environ.get("TQDM_DISABLE", "0") != "0"
    return tqdm(items, disable=hidden, **{"mininterval": 2, **options})


def run(task: Callable, jobs: Iterable, workers: int) -> Iterator:
    """``task(job)`` for every job, in order: in this process, or in a pool that shares nothing with it.

    Args:
        task: a function of a module (with ``functools.partial`` around it where it needs more than the job), so that
            another process can import it. OpenCV works on one thread in it.
        jobs: what it is called with, one after the other.
        workers: processes; 1 works in this one.

    Raises:
        ChildProcessError: a process was killed from outside, most often for want of memory, or could not start.
        Exception: what the task raised first, after the jobs under way have ended.
    """
    if workers == 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from map(task, jobs)
        finally:
            cv2.setNumThreads(threads)
        return
    jobs = iter(jobs)
    spawn = multiprocessing.get_context("spawn")  # a fork beside TensorFlow's threads can hang
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker) as pool:
        waiting = collections.deque()
        try:
            waiting.extend(pool.submit(task, job) for job in itertools.islice(jobs, AHEAD * workers))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(task, job) for job in itertools.islice(jobs, 1))
                yield result
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise ChildProcessError(
                    "a process was killed or could not start: use fewer workers where memory is short, and 1 in a "
                    "script without `if __name__ == '__main__':`"
                ) from None
            raise


def _start_worker() -> None:
    """One thread per process, and no process without its parent."""
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()

    def leave_with_parent():
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()

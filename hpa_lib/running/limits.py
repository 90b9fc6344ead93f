"""What ends a run from outside: signals, a limit on the clock, the death of the parent process."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator


class OverLimit(KeyboardInterrupt):
    """The notebook took longer than its limit."""


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """SIGTERM, which batch systems send before they kill, and a closed terminal end the run as tidily as Ctrl-C.

    Further signals are ignored until the process has ended: the first one's tidying up takes a second or two, and must
    not be stopped half-way.
    """
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none

    def interrupt(number, _):
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        if number == hang_up:  # the terminal is gone: a write to it would fail and end the run before its record
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        raise KeyboardInterrupt

    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, hang_up) if number is not None]
    ignored = [number for number in numbers if signal.getsignal(number) == signal.SIG_IGN]  # by nohup, on purpose
    before = {number: signal.signal(number, interrupt) for number in numbers if number not in ignored}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) == interrupt:
                signal.signal(number, handler)


@contextlib.contextmanager
def clock(seconds: int | None) -> Iterator[None]:
    """Raise ``OverLimit`` in a ``with`` block that takes longer than this; None for no limit.

    Raises:
        ValueError: a limit on Windows, which has no such alarm.
    """
    alarm = getattr(signal, "SIGALRM", None)
    if seconds is None:
        yield
        return
    if alarm is None:
        raise ValueError("--notebook-timeout needs Linux or macOS: leave it out here")

    def stop(*_):
        raise OverLimit

    before = signal.signal(alarm, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(alarm, before)


def end_with_parent(parent: int, group: bool = False) -> None:
    """From now on, end this process as SIGTERM does when its parent has died: no job outlives a killed workflow.

    Args:
        parent: the process that started this one; it may have died before this is called.
        group: end all of the process group, as Ctrl-C does.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        if group and hasattr(os, "killpg"):
            os.killpg(0, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()

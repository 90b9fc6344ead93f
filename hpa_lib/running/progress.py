"""What is seen of a running notebook: a line that says where it is, and what its cells print, in the step's log."""

import contextlib
import datetime
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

EPOCH = re.compile(r"epoch +(\d+/\d+) .*(macro AP [\d.]+)")  # as training.loop prints it
PAUSE = 60  # seconds between two lines in a pipe or a file; on a terminal it is one


class Progress:
    """Where a step is: nbclient names each cell before it runs, and papermill writes here what the cells print.

    Args:
        head: what the line starts with, such as ``"[2/11] 01_eda"``.
        log: the file that takes what the cells print, as it comes.
        expected: seconds of this step and of each later one, see ``records.expected_seconds``.
        started: ``time.monotonic()`` at the start of the run; None for now.
    """

    def __init__(self, head: str, log: Path, expected: Sequence[float | None] = (None,), started: float | None = None):
        self.head, self.log, self.expected = head, log, expected
        self.step_started = time.monotonic()
        self.run_started = started or self.step_started
        self.heading = self.epoch = ""

    def start_cell(self, cell: Mapping, cell_index: int) -> None:
        """Take the heading of a text cell: it holds for the cells below it."""
        headings = re.findall(r"^#+ *(.+)", cell["source"], re.MULTILINE)
        if headings and cell["cell_type"] == "markdown":
            self.heading, self.epoch = headings[-1], ""

    def write(self, text: str) -> None:
        """Store what a cell printed; of an epoch's line, show the number and the score from now on."""
        with open(self.log, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        for number, score in EPOCH.findall(text):
            self.epoch = f"epoch {number}, {score}"

    def flush(self) -> None:
        """Papermill asks for it; every ``write`` has closed the file already."""

    def line(self) -> str:
        """The step, the time since the run's start and that to its end, the epoch, the section."""
        now, remaining = time.monotonic(), "not known yet"
        if None not in self.expected:
            here, *later = self.expected
            remaining = f"about {_clock(max(here - (now - self.step_started), 0) + sum(later))}"
        times = f"{_clock(now - self.run_started)}, remaining: {remaining}"
        return "  ".join(filter(None, [self.head, times, self.epoch, self.heading]))


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


@contextlib.contextmanager
def shown(line: Callable[[], str]) -> Iterator[None]:
    """Show ``line()`` while a ``with`` block runs: on a terminal in place and gone at the end, else once per minute."""
    ended = threading.Event()
    thread = threading.Thread(target=_show, args=(line, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(line: Callable[[], str], ended: threading.Event) -> None:
    in_place, width = sys.stdout.isatty(), 0
    with contextlib.suppress(OSError, ValueError):  # the terminal is gone, or lacks a character: the run goes on
        while not ended.wait(1 if in_place else PAUSE):
            width = shutil.get_terminal_size().columns - 1  # a full line would wrap: \r would not reach its start
            print(f"\r{line()[:width]:<{width}}" if in_place else line(), end="" if in_place else "\n", flush=True)
        print(f"\r{'':{width}}\r" if width and in_place else "", end="", flush=True)

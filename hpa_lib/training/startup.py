"""TensorFlow's start-up lines are left out; whatever else it writes to standard error is passed on.

At its first import, and when it first looks for GPUs, TensorFlow's C++ code writes lines on oneDNN, CUDA and log
messages that are no errors, which a notebook shows in red. ``TF_CPP_MIN_LOG_LEVEL`` cannot stop these: they come before
TensorFlow reads it.
"""

import contextlib
import importlib.util
import os
import subprocess
import sys

# What is left out: information before the log level is in force, and the lack of a GPU driver. Another process reads,
# so that the last words of a process that aborts are passed on too.
FILTER = r"""
import re, sys
startup = re.compile(
    rb"WARNING: All log messages before absl|I0000 |E0000 .* failed call to cuInit: .*UNKNOWN ERROR \(303\)"
)
for line in sys.stdin.buffer:
    if line.strip() and not startup.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextlib.contextmanager
def without_startup_lines():
    """Leave ``FILTER``'s lines out of what is written to standard error, also by C++ code, and pass on all others."""
    sys.stderr.flush()
    kept = os.dup(2)
    reader = subprocess.Popen([sys.executable, "-S", "-E", "-c", FILTER], stdin=subprocess.PIPE, stderr=kept)
    os.dup2(reader.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        reader.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a process started meanwhile may hold the pipe
            reader.wait(timeout=5)


class QuietTensorFlow:
    """An entry of ``sys.meta_path`` that runs the first import of TensorFlow in ``without_startup_lines``.

    A class because Python asks for one. Keras imports TensorFlow, and any module may be the first to import Keras.
    """

    def find_spec(self, name, path=None, target=None):
        """The spec of TensorFlow with a quiet loader; None, so that Python looks on, for every other module."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader.exec_module = without_startup_lines()(spec.loader.exec_module)
        return spec

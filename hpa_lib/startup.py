"""TensorFlow's start-up lines are left out; whatever else it writes to standard error is passed on.

At its first import, and when it first looks for GPUs, TensorFlow's C++ code writes lines on oneDNN, CUDA and log
messages that are no errors, which a notebook shows in red. ``TF_CPP_MIN_LOG_LEVEL`` cannot stop these: they come before
TensorFlow reads it.
"""

import contextlib
import importlib.util
import os
import re
import sys
import tempfile

STARTUP = re.compile(
    rb"WARNING: All log messages before absl|"
    rb"I0000 |"  # information, before the log level is in force
    rb"E0000 .* failed call to cuInit: .*UNKNOWN ERROR \(303\)"  # no driver: this computer has no GPU
)


@contextlib.contextmanager
def without_startup_lines():
    """Hold back what is written to standard error, also by C++ code, and pass on all but ``STARTUP`` at the end."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            written.seek(0)
            os.write(2, b"".join(line for line in written if line.strip() and not STARTUP.match(line)))


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

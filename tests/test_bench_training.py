"""What bench/training.py says when a measurement fails, and that its PyTorch twin shares no process with TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import pytest

from hpa_lib import paths

LOG = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795702563.425449    5781 port.cc:153] oneDNN custom operations are on.
2026-11-25 10:00:00.000000: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.
"""


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_training", paths.PROJECT / "bench" / "training.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(paths.PROJECT / "bench")
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("raise ValueError('too large')", "ValueError: too large"),
        ("import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV: it gave no reason"),
        ("import os; print('out of luck', file=sys.stderr); os.abort()", "ended by SIGABRT: out of luck"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_a_failed_child_is_reported_with_its_reason(bench, script, expected):
    logging = f"import sys; {script.replace('; os.kill', '; sys.stderr.flush(); os.kill')}"
    found = bench.in_child("-c", f"import sys; sys.stderr.write({LOG!r}); sys.stderr.flush()\n{logging}")
    assert found == {"failed": expected}


def test_the_twin_is_built_without_tensorflow_from_what_keras_stored(bench, tmp_path):
    """The network is rebuilt by Keras on NumPy: the same logits in a process that never imports TensorFlow."""
    options = ["--json", f"--folder={tmp_path}", "--size=64", "--batch=2"]
    assert bench.in_child(bench.__file__, *options, "--measure", "hand_over:densenet") == {"stored": "densenet"}
    script = f"""
import sys, numpy as np
from hpa_lib import models
model = models.MODELS["densenet"](image_size=64, channels="rgby")
model.load_weights("{tmp_path}/densenet.weights.h5")
stored = np.load("{tmp_path}/densenet.npz")
assert np.abs(model.predict_on_batch(stored["pixels"]) - stored["logits"]).max() < 1e-3
assert "tensorflow" not in sys.modules
"""
    command, environment = [sys.executable, "-c", script], os.environ | {"KERAS_BACKEND": "numpy"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

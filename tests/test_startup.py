"""TensorFlow starts silently, and errors still show: each in a process of its own, as at a first import."""

import os
import subprocess
import sys

import pytest

START = """
from hpa_lib.training import batches, device, loop
device.setup("auto", model="densenet")
import keras, numpy as np
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
model.compile("sgd", "mse", jit_compile=False)
model.fit(np.zeros((8, 8)), np.zeros((8, 2)), verbose=0)
"""


def run(script, **changed):
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment | changed, capture_output=True, text=True, check=False)


def test_nothing_is_written_to_standard_error():
    done = run(START)
    assert done.returncode == 0 and done.stderr == ""


def test_a_warning_and_an_exception_still_show():
    done = run(START + "import warnings; warnings.warn('look here'); model.predict(np.zeros((2, 5)))")
    assert "UserWarning: look here" in done.stderr and "incompatible with the layer" in done.stderr
    assert done.returncode == 1


def test_an_error_of_cpp_code_during_the_import_still_shows(tmp_path):
    """A package that writes like TensorFlow and then fails."""
    (tmp_path / "tensorflow.py").write_text(
        "import os\n"
        "os.write(2, b'I0000 00:00:1795702563.425449    5781 port.cc:153] oneDNN is on.\\n')\n"
        "os.write(2, b'E0000 00:00:1795702563.425449    5781 driver.cc:1] the driver is too old\\n')\n"
        "raise ImportError('no such symbol')\n"
    )
    done = run("import hpa_lib, tensorflow", PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}:{os.getcwd()}")
    assert "oneDNN" not in done.stderr
    assert "the driver is too old" in done.stderr and "no such symbol" in done.stderr


@pytest.mark.parametrize("given", ["0", "3"])
def test_a_log_level_of_your_own_is_kept(given):
    script = "import os, hpa_lib; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    assert run(script, TF_CPP_MIN_LOG_LEVEL=given).stdout.strip() == given


def test_the_last_words_of_a_process_that_aborts_while_tensorflow_is_imported_are_not_lost(tmp_path):
    """A CPU without AVX is told so by TensorFlow just before it aborts."""
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'I0000 oneDNN is on\\nF0000 compiled to use AVX instructions\\n')\nos.abort()\n"
    )
    done = run("import hpa_lib, tensorflow", PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}:{os.getcwd()}")
    assert done.returncode != 0 and "AVX instructions" in done.stderr and "oneDNN" not in done.stderr

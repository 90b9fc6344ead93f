"""The run profiles: which notebooks ``hpa run`` starts, in which order, with which parameters.

A profile is plain data. ``steps`` lists ``(step name, notebook number, parameters)``: the same notebook may occur
several times. ``shared`` holds for every notebook that has such a parameter; a step's own value and ``-p`` win over
it. ``data`` and ``out`` are the folders used without ``--data`` and ``--out``; an empty ``data`` means the search of
``paths.find_data``. Whatever is left out keeps the value of the notebook's own ``parameters`` cell. All networks of a
profile train for the same number of epochs, so that their scores can be compared.
"""

from hpa_lib import paths

FIRST = [("00_data", "00", {}), ("01_eda", "01", {}), ("01b_classical", "01b", {})]
LAST = [("05_thresholds", "05", {}), ("06_ensemble", "06", {}), ("07_report", "07", {})]

DEMO = {  # the whole study in minutes on two cores
    "data": paths.DEFAULT_DATA,
    "out": paths.PROJECT / "outputs" / "demo",
    "shared": {"EPOCHS": 4},
    "steps": [
        *FIRST,
        ("02_densenet_none", "02", {"CLASS_WEIGHTS": "none"}),
        ("02_densenet_sqrt", "02", {"CLASS_WEIGHTS": "sqrt"}),
        ("02_densenet_best", "02", {"RECIPE": "best"}),
        ("03_resnet18", "03", {}),
        ("04_inception_v2", "04", {}),
        *LAST,
    ],
}

COURSE = {  # a larger synthetic set or a part of Kaggle's: a day or more on two cores, for a GPU (not timed on one)
    "data": paths.PROJECT / "data" / "synthetic-course",
    "out": paths.PROJECT / "outputs" / "course",
    "shared": {"IMAGE_SIZE": 256, "EPOCHS": 20},
    "steps": [
        *FIRST,
        ("02_densenet_none", "02", {"CLASS_WEIGHTS": "none"}),
        ("02_densenet_sqrt", "02", {"CLASS_WEIGHTS": "sqrt"}),
        ("02_densenet_rgb_merge", "02", {"CLASS_WEIGHTS": "sqrt", "CHANNELS": "rgb_merge"}),
        ("02_densenet_best", "02", {"RECIPE": "best"}),
        ("03_resnet18_none", "03", {"CLASS_WEIGHTS": "none"}),
        ("03_resnet18_sqrt", "03", {"CLASS_WEIGHTS": "sqrt"}),
        ("04_inception_v2", "04", {"CLASS_WEIGHTS": "sqrt"}),
        *LAST,
    ],
}

KAGGLE = {  # the full competition data: plan for a GPU
    "data": "",
    "out": paths.PROJECT / "outputs" / "kaggle",
    "shared": {"IMAGE_SIZE": 256, "EPOCHS": 30},
    "steps": [
        *FIRST,
        ("02_densenet_none", "02", {"CLASS_WEIGHTS": "none"}),
        ("02_densenet_sqrt", "02", {"CLASS_WEIGHTS": "sqrt"}),
        ("03_resnet18_sqrt", "03", {"CLASS_WEIGHTS": "sqrt"}),
        ("03_resnet18_best", "03", {"RECIPE": "best"}),
        ("04_inception_v2_sqrt", "04", {"CLASS_WEIGHTS": "sqrt"}),
        *LAST,
    ],
}

PROFILES = {"demo": DEMO, "course": COURSE, "kaggle": KAGGLE}

"""The run profiles: which notebooks ``hpa run`` starts, in which order, with which parameters.

A profile is plain data. ``steps`` lists ``(step name, notebook number, parameters)``: the same notebook may occur
several times. ``shared`` holds for every notebook that has such a parameter; a step's own value and ``-p`` win over
it. ``data`` and ``out`` are the folders used without ``--data`` and ``--out``; an empty ``data`` means the search of
``paths.find_data``. Whatever is left out keeps the value of the notebook's own ``parameters`` cell. All networks of a
profile train for the same number of epochs, so that their scores can be compared.
"""

from hpa_lib import paths

FIRST = [("00_data", "00", {}), ("01_eda", "01", {}), ("01b_classical", "01b", {})]
STUDY = [  # the study's networks, two of them also with class weights
    ("02_densenet_study", "02", {"RECIPE": "study"}),
    ("02_densenet_class_weights", "02", {"RECIPE": "class_weights"}),
    ("03_resnet18_study", "03", {"RECIPE": "study"}),
    ("03_resnet18_class_weights", "03", {"RECIPE": "class_weights"}),
    ("04_inception_v2_study", "04", {"RECIPE": "study"}),
]
LAST = [("05_thresholds", "05", {}), ("06_ensemble", "06", {}), ("08_explore", "08", {}), ("07_report", "07", {})]

DEMO = {  # the whole study in minutes on two cores
    "data": paths.DEFAULT_DATA,
    "out": paths.PROJECT / "outputs" / "demo",
    "shared": {"EPOCHS": 3, "BATCH_SIZE": 16},
    "steps": [*FIRST, *STUDY, ("03_resnet18_best", "03", {"RECIPE": "best"}), *LAST],
}

COURSE = {  # a larger synthetic set or a part of Kaggle's: overnight on two cores; a stopped run goes on where it was
    "data": paths.PROJECT / "data" / "synthetic-course",
    "out": paths.PROJECT / "outputs" / "course",
    "shared": {"IMAGE_SIZE": 128, "EPOCHS": 40},
    "steps": [
        *FIRST,
        *STUDY,
        ("03_resnet18_long", "03", {"RECIPE": "long"}),
        ("03_densenet121_study", "03", {"NETWORK": "densenet121", "RECIPE": "study"}),
        ("02_densenet_rgb_merge", "02", {"RECIPE": "study", "CHANNELS": "rgb_merge"}),  # the study's other way in
        *LAST,
    ],
}

KAGGLE = {  # the full competition data: plan for a GPU
    "data": "",
    "out": paths.PROJECT / "outputs" / "kaggle",
    "shared": {"IMAGE_SIZE": 256, "EPOCHS": 30},
    "steps": [
        *FIRST,
        *STUDY,
        ("03_resnet18_long", "03", {"RECIPE": "long"}),
        ("03_densenet121_long", "03", {"NETWORK": "densenet121", "RECIPE": "long"}),
        *LAST,
    ],
}

PROFILES = {"demo": DEMO, "course": COURSE, "kaggle": KAGGLE}

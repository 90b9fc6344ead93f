"""The embedded default data: procedurally drawn fields that look like Human Protein Atlas images, with their labels.

``render`` draws one field, ``contact_fields`` one of every class, ``write_dataset`` a whole folder in Kaggle's layout.
``draw_with_masks`` also says where each label's structure is, and ``fresh_fields`` draws fields for a class.
Nothing here is HPA data, and scores on it say nothing about real images.
"""

from hpa_synth.data_sets import DATA_SETS as DATA_SETS
from hpa_synth.data_sets import VERSION as VERSION
from hpa_synth.masks import draw_with_masks as draw_with_masks
from hpa_synth.masks import fresh_fields as fresh_fields
from hpa_synth.patterns import DESCRIPTIONS as DESCRIPTIONS
from hpa_synth.rendering import contact_fields as contact_fields
from hpa_synth.rendering import render as render
from hpa_synth.writing import check_version as check_version
from hpa_synth.writing import is_synthetic as is_synthetic
from hpa_synth.writing import read_scale as read_scale
from hpa_synth.writing import write_dataset as write_dataset

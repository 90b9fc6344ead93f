"""The table of the 28 green patterns: drawing function, gain and evidence, in the order of the labels."""

from collections.abc import Callable
from typing import NamedTuple

from hpa_synth import patterns_cytoplasm, patterns_filaments, patterns_nucleus, patterns_vesicles


class Pattern(NamedTuple):
    """One class of the green channel."""

    draw: Callable  # (field, rng, variant) -> canvas float32 (S, S)
    gain: float  # equalises how bright sparse and filling structures look
    evidence_um2: float  # the label is written only if this area of structure is in the frame

    @property
    def faintest(self) -> float:
        """Grey levels per unit of canvas: however dark the exposure, spots are not drawn fainter, nor are areas."""
        return 55.0 if self.evidence_um2 < 8 else 16.0


PATTERNS = (
    Pattern(patterns_nucleus.nucleoplasm, 0.46, 40),
    Pattern(patterns_nucleus.nuclear_membrane, 0.80, 20),
    Pattern(patterns_nucleus.nucleoli, 1.00, 3),
    Pattern(patterns_nucleus.nucleoli_fibrillar_center, 1.30, 1.5),
    Pattern(patterns_nucleus.nuclear_speckles, 0.90, 3),
    Pattern(patterns_nucleus.nuclear_bodies, 1.30, 1.5),
    Pattern(patterns_cytoplasm.endoplasmic_reticulum, 0.60, 40),
    Pattern(patterns_cytoplasm.golgi_apparatus, 1.10, 3),
    Pattern(patterns_vesicles.peroxisomes, 1.15, 3),
    Pattern(patterns_vesicles.endosomes, 1.15, 3),
    Pattern(patterns_vesicles.lysosomes, 1.10, 3),
    Pattern(patterns_filaments.intermediate_filaments, 0.85, 40),
    Pattern(patterns_filaments.actin_filaments, 0.80, 40),
    Pattern(patterns_filaments.focal_adhesion_sites, 1.20, 3),
    Pattern(patterns_filaments.microtubules, 0.80, 40),
    Pattern(patterns_filaments.microtubule_ends, 1.15, 3),
    Pattern(patterns_filaments.cytokinetic_bridge, 1.10, 3),
    Pattern(patterns_filaments.mitotic_spindle, 1.10, 3),
    Pattern(patterns_filaments.microtubule_organizing_center, 1.20, 3),
    Pattern(patterns_filaments.centrosome, 1.50, 1),
    Pattern(patterns_vesicles.lipid_droplets, 1.10, 3),
    Pattern(patterns_cytoplasm.plasma_membrane, 0.70, 40),
    Pattern(patterns_cytoplasm.cell_junctions, 1.10, 8),
    Pattern(patterns_cytoplasm.mitochondria, 0.90, 3),
    Pattern(patterns_vesicles.aggresome, 1.40, 3),
    Pattern(patterns_cytoplasm.cytosol, 0.38, 40),
    Pattern(patterns_vesicles.cytoplasmic_bodies, 1.35, 1),
    Pattern(patterns_vesicles.rods_and_rings, 1.25, 1.5),
)

DESCRIPTIONS = tuple(pattern.draw.__doc__.splitlines()[0] for pattern in PATTERNS)  # one line of biology per class

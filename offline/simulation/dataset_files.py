"""The files around simulated runs: what the dataset is, its regions and its truth."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from offline.simulation.haemodynamics import load_brain
from offline.simulation.neural import REGIONS
from offline.simulation.regions import atlas, motor_mask
from offline.simulation.run_files import write_image, write_json, write_table

SIMULATED = """This dataset is simulated by rtfeedback: EEG of sources in a spherical head,
    BOLD of the same sources through a haemodynamic response, in MNI space. It shows that
    the software works, and says nothing of how well brains can be decoded."""
SEMI = """This dataset is semi-synthetic: the EEG is real, the BOLD is simulated from that
    EEG's own power (8-30 Hz at C3 and C4) through a haemodynamic response, plus noise. It
    tests the plumbing. No skill on it is a claim about brains."""


def write_dataset(
    root: Path, config: dict[str, Any], truths: dict[str, Any], eeg: tuple[str, ...]
) -> None:
    """Write what belongs to no single run.

    Parameters
    ----------
    root : Path
        The dataset's folder.
    config : dict
        What was asked for.
    truths : dict
        Truth by run and region.
    eeg : tuple of str
        Names of the real recordings; empty for a simulation.
    """
    what = " ".join((SEMI if eeg else SIMULATED).split())
    kind = "Semi-synthetic (real EEG, simulated BOLD)" if eeg else "Simulated"
    about = {
        "Name": f"{kind} EEG-fMRI of motor imagery",
        "BIDSVersion": "1.10.0",
        "Authors": ["rtfeedback simulate"],
        "SemiSynthetic": bool(eeg),  # `prepare` reads it: no skill is claimed of such data
        "GeneratedBy": [{"Name": "rtfeedback simulate", "Description": what}],
    }
    write_json(root / "dataset_description.json", {**about, "DatasetType": "raw"})
    (root / "README").write_text(_readme(kind, what, eeg), encoding="utf-8")
    subjects = sorted({name.split("_")[0] for name in truths})
    write_table(root / "participants.tsv", ("participant_id",), ([s] for s in subjects))
    derived = root / "derivatives" / "simulated"
    write_json(derived / "dataset_description.json", {**about, "DatasetType": "derivative"})
    write_json(
        derived / "truth.json",
        {"about": what, "semi_synthetic": bool(eeg), "eeg": list(eeg)}
        | {"config": config, "runs": truths},
    )
    _write_regions(derived)


def _write_regions(derived: Path) -> None:
    affine = load_brain().affine
    write_image(derived / "motor_mask.nii.gz", motor_mask().astype(np.uint8), affine)
    write_image(derived / "atlas.nii.gz", atlas(), affine)
    write_table(derived / "atlas.tsv", ("index", "name"), enumerate(REGIONS, start=1))


def _readme(kind: str, what: str, eeg: tuple[str, ...]) -> str:
    source = f"Recordings, one per run: {', '.join(eeg)}." if eeg else ""
    parts = [
        f"{kind} EEG-fMRI",
        what,
        source,
        "A volume shows the BOLD half a TR after its onset, which the EEG marks "
        "`Response/R128`. Volumes are in MNI space, as if slice-timed and normalised.",
        "`derivatives/simulated` holds the regions (`motor_mask`, `atlas`), confounds "
        "under fMRIPrep's names, and `truth.json`: the motor region's noise-free course in "
        "% signal change, the share of its variance that the task explains, and its "
        "correlation with the measured course before any cleaning of that.",
    ]
    return "\n\n".join(textwrap.fill(part, 92) for part in parts if part) + "\n"

"""Every recipe for a public dataset on that dataset's own folders and sidecars.

Signals are made up and short (`real_layouts`); labels, rates, TR and quirks are real.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from offline.bold.confounds import motion, read_courses
from offline.datasets.bids import (
    PairedRun,
    events_file,
    named_markers,
    read_eeg,
    repetition_time,
)
from offline.datasets.find_runs import find_runs
from offline.datasets.layout import LayoutConfig
from offline.design import conditions, read_events
from offline.eeg.chains import common_chains
from offline.prepare import PrepareConfig
from offline.store.dataset import Store
from rtfeedback.chain import Chain
from rtfeedback.config import load_config
from rtfeedback.errors import ChannelError
from rtfeedback.signals import StreamInfo
from tests.offline import real_layouts

Run = Callable[..., tuple[int, str, list[str]]]
CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path.stem for path in CONFIGS.glob("prepare-*.toml"))
XP1 = ("prepare-ds002336", "prepare-ds002336-corrected")
ODDBALL = "oddballwithbuttonresponsetotargetstimuli"


def layout_of(recipe: str) -> LayoutConfig:
    values = tomllib.loads((CONFIGS / f"{recipe}.toml").read_text("utf-8"))
    return LayoutConfig.model_validate(values["layout"])


def volume_markers(run: PairedRun, label: str) -> list[float]:
    return [marker.stamp for marker in read_eeg(run).markers if marker.label.endswith(label)]


def tasks(runs: Sequence[PairedRun]) -> list[str]:
    return [run.task + run.run for run in runs]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_loads_and_is_no_copy_of_the_defaults(recipe: str) -> None:
    config = load_config(CONFIGS / f"{recipe}.toml", PrepareConfig)
    assert config.layout == layout_of(recipe)
    values = tomllib.loads((CONFIGS / f"{recipe}.toml").read_text("utf-8"))
    same = [key for key in values["layout"] if values["layout"][key] == ["bids"]]
    assert set(same) <= {"eeg", "bold"}  # stated where the other one is not


def test_every_dataset_has_its_recipe() -> None:
    datasets = ("ds000116", "ds002158", "ds002336", "ds002336-corrected", "ds002338", "noddi")
    assert [f"prepare-{name}" for name in datasets] == RECIPES


# ----------------------------------------------------------------------------- ds002336, XP1


@pytest.fixture(scope="module")
def xp1(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = shared / "openneuro_sidecars/ds002336"
    out = tmp_path_factory.mktemp("recipes") / "ds002336"
    return real_layouts.neurofeedback(source, out, ["xp105"], tr=2.0)


@pytest.mark.parametrize("recipe", XP1)
def test_xp1s_six_runs_come_in_the_order_of_their_scans(xp1: Path, recipe: str) -> None:
    runs, skipped, _ = find_runs(xp1, layout_of(recipe))
    order = ["motorloc", "MIpre", "eegfmriNF", "fmriNF", "eegNF", "MIpost"]
    assert (tasks(runs), skipped) == (order, [])
    assert {run.subject for run in runs} == {"xp105"}
    assert {repetition_time(run) for run in runs} == {2.0}


@pytest.mark.parametrize(("recipe", "sfreq"), [(XP1[0], 5000.0), (XP1[1], 200.0)])
def test_xp1s_eeg_has_63_channels_and_an_ecg_against_fcz(
    xp1: Path, recipe: str, sfreq: float
) -> None:
    for run in find_runs(xp1, layout_of(recipe)).runs:
        info = read_eeg(run).info
        assert (info.sfreq, info.reference) == (sfreq, "FCz")
        assert [info.kinds.count(kind) for kind in ("eeg", "ecg")] == [63, 1]
        assert info.kinds[31] == "ecg"


def test_xp1s_corrected_eeg_begins_with_the_protocol_and_lacks_the_first_volume(
    xp1: Path,
) -> None:
    for raw, corrected in zip(
        *(find_runs(xp1, layout_of(recipe)).runs for recipe in XP1), strict=True
    ):
        assert volume_markers(raw, "R128") == pytest.approx([3, 5, 7, 9])
        assert volume_markers(raw, "S 99")[0] == pytest.approx(5)
        assert volume_markers(corrected, "R128") == pytest.approx([0, 2, 4])
        assert volume_markers(corrected, "S 99")[0] == 0
        assert named_markers(corrected) == ()


def test_xp1s_motion_and_events_are_found(xp1: Path) -> None:
    for run in find_runs(xp1, layout_of(XP1[0])).runs:
        assert run.confounds is not None
        n_rows = len(run.confounds.read_text().splitlines()) - 1
        moved = motion(read_courses(run.confounds))
        assert moved is not None
        assert moved.shape == (n_rows, 6)
        path = events_file(run)
        assert path is not None
        events = read_events(path)
        assert events[0][:2] == (2.0, 20.0)
        named = {"motorloc": "Task-ME"}.get(run.task, f"Task-{run.task[-2:]}")
        named = "Task-MI" if run.task.startswith("MI") else named
        assert conditions(events) == (named,)


# ----------------------------------------------------------------------------- ds002338, XP2


@pytest.fixture(scope="module")
def xp2(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = shared / "openneuro_sidecars/ds002338"
    out = tmp_path_factory.mktemp("recipes") / "ds002338"
    return real_layouts.neurofeedback(source, out, ["xp201", "xp210"], tr=1.0)


def test_xp2s_broken_files_skip_their_runs_and_no_other(xp2: Path) -> None:
    runs, skipped, _ = find_runs(xp2, layout_of("prepare-ds002338"))
    own = [run for run in runs if run.subject == "xp210"]
    assert len(runs) == 8
    assert sorted(tasks(own)) == ["2dNF01", "2dNF02", "MIpost"]
    errors = {each.run: str(each.error) for each in skipped}
    assert sorted(errors) == ["sub-xp210_task-2dNF_run-03", "sub-xp210_task-MIpre"]
    assert "sub-xp210_task-MIpre_eeg.vhdr is broken" in errors["sub-xp210_task-MIpre"]
    image = "sub-xp210_task-2dNF_run-03_bold.nii.gz is broken"
    assert image in errors["sub-xp210_task-2dNF_run-03"]
    assert {repetition_time(run) for run in runs} == {1.0}
    assert all(read_eeg(run).info.kinds.count("eeg") == 63 for run in own)


def test_xp2s_corrected_eeg_is_found_by_the_same_pattern(xp2: Path) -> None:
    runs, skipped, _ = find_runs(xp2, layout_of(XP1[1]))
    assert len(runs) == 9  # MIpre's raw header is the broken one
    assert [each.run for each in skipped] == ["sub-xp210_task-2dNF_run-03"]
    assert {run.eeg.name[:2] for run in runs} == {"d_"}
    assert read_eeg(runs[0]).info.sfreq == 200.0


def test_xp2_is_prepared_by_its_recipe_and_says_what_it_skipped(
    shared: Path, tmp_path: Path, rtfeedback: Run
) -> None:
    source, root = shared / "openneuro_sidecars/ds002338", tmp_path / "xp2"
    kept = ("_eeg_pp.vhdr", "_bold.nii.gz")
    real_layouts.neurofeedback(source, root, ["xp210"], tr=1.0, n_volumes=60, only=kept)
    recipe = (CONFIGS / f"{XP1[1]}.toml").read_text("utf-8")
    recipe = recipe.replace("discard = 1", "discard = 2").replace("Task-ME", "Task-NF")
    recipe = recipe.replace('"motorloc"', '"1dNF", "2dNF"')
    (tmp_path / "recipe.toml").write_text(recipe + "[chains.tokens.band_power]\n", "utf-8")
    options = ("--config", "recipe.toml", "--jobs", 1)
    code, out, said = rtfeedback("prepare", "xp2", "store", *options)
    name = "sub-xp210_task-2dNF_run-03"
    assert (code, out) == (3, "store\n"), said
    assert said[-1] == f"1 of 5 runs were skipped: {name}"
    assert any(f"{name}_bold.nii.gz is broken" in line for line in said)
    store = Store(tmp_path / "store")
    assert [run.task + run.run for run in store.manifest.runs][-1] == "MIpost"
    assert all(run.n_volumes == 60 for run in store.manifest.runs)
    assert store.manifest.upstream.startswith("gradient artefact")


# --------------------------------------------------------------------- each recipe, as it is


def raw_neurofeedback(shared: Path, out: Path, dataset: str, tr: float) -> Path:
    source, kept = shared / "openneuro_sidecars" / dataset, ("_eeg.vhdr", "_bold.nii.gz")
    subject = {"ds002336": "xp105", "ds002338": "xp210"}[dataset]
    return real_layouts.neurofeedback(
        source, out, [subject], tr=tr, n_volumes=round(60 / tr), only=kept
    )


LAID_OUT: dict[str, Callable[[Path, Path], Path]] = {
    "prepare-ds002336": lambda data, out: raw_neurofeedback(data, out, "ds002336", 2.0),
    "prepare-ds002338": lambda data, out: raw_neurofeedback(data, out, "ds002338", 1.0),
    "prepare-ds000116": lambda data, out: real_layouts.oddball(
        data / "openneuro_sidecars/ds000116", out, ["01", "04"], n_volumes=40
    ),
    "prepare-noddi": lambda data, out: real_layouts.rest(
        data / "noddi_bids_example", out, "32", "35", "36"
    ),
    "prepare-ds002158": lambda _, out: real_layouts.confidence(out, n_volumes=60),
}
RUNS = {
    "prepare-ds002336": (6, 0),
    "prepare-ds002338": (3, 2),  # of xp210, one file is broken, and one lacks its half
    "prepare-ds000116": (6, 0),  # not subject 4's
    "prepare-noddi": (3, 0),
    "prepare-ds002158": (2, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", LAID_OUT)
def test_every_recipe_makes_a_store_as_it_is(
    shared: Path, tmp_path: Path, rtfeedback: Run, recipe: str
) -> None:
    LAID_OUT[recipe](shared, tmp_path / "bids")
    config = CONFIGS / f"{recipe}.toml"
    code, out, said = rtfeedback("prepare", "bids", "store", "--config", config)
    n_runs, n_skipped = RUNS[recipe]
    assert (code, out) == (3 if n_skipped else 0, "store\n"), said
    manifest = Store(tmp_path / "store").manifest
    assert (len(manifest.runs), len(manifest.skipped)) == (n_runs, n_skipped)
    for run in Store(tmp_path / "store").runs.values():
        assert np.isfinite(run.targets).all()
        assert np.isfinite(run.onsets).sum() >= 20
        assert len(run.features("tokens")) > 0


# -------------------------------------------------------------------------- ds000116, oddball


@pytest.fixture(scope="module")
def oddball(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = shared / "openneuro_sidecars/ds000116"
    out = tmp_path_factory.mktemp("recipes") / "ds000116"
    return real_layouts.oddball(source, out, ["01", "04"])


def test_the_oddballs_archive_goes_with_the_bold_of_openneuro(oddball: Path) -> None:
    runs, skipped, _ = find_runs(oddball, layout_of("prepare-ds000116"))
    assert (len(runs), skipped) == (6, [])
    assert {run.subject for run in runs} == {"01"}  # subject 4 is excluded
    first = runs[0]
    assert first.name == f"sub-01_task-auditory{ODDBALL}_run-01"
    assert first.eeg == oddball / "sub001/EEG/task001_run001/EEG_rereferenced.mat"
    assert runs[-1].eeg.parent.name == "task002_run003"
    assert (repetition_time(first), first.onset) == (2.0, 0.0)
    path = events_file(first)
    assert path is not None
    assert len(conditions(read_events(path))) == 3


def test_the_oddballs_own_bold_will_do_without_bids(oddball: Path, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    for folder in (oddball / "sub001/EEG").iterdir():
        shutil.copytree(folder, root / "sub001/EEG" / folder.name)
        bold = root / f"sub001/BOLD/{folder.name}/bold.nii.gz"
        real_layouts.write_bold(bold, tr=2.0, n_volumes=4)
    pattern = "**/sub{subject}/BOLD/{task}_run{run}/bold.nii.gz"
    layout = layout_of("prepare-ds000116").model_copy(update={"bold": (pattern,)})
    runs, _, _ = find_runs(root, layout, f"visual{ODDBALL}")
    assert [run.name for run in runs] == [
        f"sub-001_task-visual{ODDBALL}_run-00{i}" for i in (1, 2, 3)
    ]
    assert repetition_time(runs[0]) == 2.0


def test_the_oddballs_channels_are_34_bipolar_ones_and_an_ecg(oddball: Path) -> None:
    recording = read_eeg(find_runs(oddball, layout_of("prepare-ds000116")).runs[0])
    info = recording.info
    assert (info.sfreq, info.reference, info.kinds) == (
        1000.0,
        "bipolar",
        ("eeg",) * 34 + ("ecg",),
    )
    assert recording.samples.shape == (8000, 35)


def monopolar(channels: Sequence[str], reference: str) -> StreamInfo:
    n = len(channels)
    return StreamInfo("cap", 1000.0, tuple(channels), ("eeg",) * n, ("uV",) * n, reference)


def test_a_model_of_bipolar_channels_refuses_a_cap_with_one_reference(oddball: Path) -> None:
    config = load_config(CONFIGS / "prepare-ds000116.toml", PrepareConfig)
    info = read_eeg(find_runs(oddball, config.layout).runs[0]).info
    spec = common_chains(config.chains, (), [info])["samples"]
    assert (spec.config.reference, spec.recorded_reference) == ("recorded", "bipolar")
    Chain(spec, info)
    sites = [name.removesuffix("-bipolar") for name in spec.channels]
    for reference in ("FCz", ""):
        with pytest.raises(ChannelError, match="'cap' has no channel Fp1-bipolar"):
            Chain(spec, monopolar(sites, reference))
    with pytest.raises(ChannelError, match=r"referenced to FCz, .* to bipolar"):
        Chain(spec, monopolar(spec.channels, "FCz"))


# ------------------------------------------------------------------------------ NODDI, at rest


@pytest.fixture(scope="module")
def noddi(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recipes") / "noddi"
    return real_layouts.rest(shared / "noddi_bids_example", out, "32")


def test_noddis_corrected_eeg_goes_with_its_preprocessed_bold(noddi: Path) -> None:
    (run,), skipped, _ = find_runs(noddi, layout_of("prepare-noddi"))
    assert (run.name, skipped) == ("sub-32_task-rest", [])
    recording = read_eeg(run)
    assert (recording.info.sfreq, recording.info.reference) == (250.0, "FCz")
    assert [recording.info.kinds.count(kind) for kind in ("eeg", "ecg")] == [63, 1]
    assert repetition_time(run) == 2.16
    starts = [m.stamp for m in recording.markers if m.label.endswith("Scan Start")]
    assert len(starts) == 300
    np.testing.assert_allclose(np.diff(starts), 2.16, atol=1 / 250)


def test_noddis_raw_files_are_empty_here_and_each_run_says_so(noddi: Path) -> None:
    layout = layout_of("prepare-noddi").model_copy(update={"bold": ("bids",)})
    with pytest.raises(Exception, match=r"sub-32_task-rest_bold\.nii\.gz is empty"):
        find_runs(noddi, layout)


# ------------------------------------------------------------------------- ds002158, CN-EPFL


def test_confidences_headers_may_name_the_data_by_old_names(tmp_path: Path) -> None:
    root = real_layouts.confidence(tmp_path / "ds002158")
    runs, skipped, _ = find_runs(root, layout_of("prepare-ds002158"))
    assert [run.name for run in runs] == [f"sub-02_ses-001_task-main_run-00{i}" for i in (1, 2)]
    assert skipped == []
    recording = read_eeg(runs[0])
    assert recording.info.sfreq == 5000.0
    assert volume_markers(runs[0], "R128") == pytest.approx([3, 4.28, 5.56, 6.84])
    assert {repetition_time(run) for run in runs} == {1.28}
    assert all("space-MNI" in run.measured.name for run in runs)

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from offline.store.dataset import MANIFEST, READS, Run, Store, window_at
from rtfeedback.errors import DatasetError
from rtfeedback.windows import WindowSpec

FIRST = "sub-01_task-motorimagery_run-01"
CHAINS = ["samples", "tokens"]


@pytest.fixture
def run(store: Store) -> Run:
    return store.runs[FIRST]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("lead", [0.0, 1.3, 4.0])
def test_a_window_ends_with_the_sample_nearest_to_its_due_time(
    run: Run, chain: str, lead: float
) -> None:
    spec = WindowSpec(length=10.0, lead=lead)
    examples, stamps = run.examples(chain, spec), run.stamps(chain)
    assert len(examples.volumes) > 30
    for volume, end in zip(examples.volumes, examples.ends, strict=True):
        # The volumes are marked at an even pace here, so a forecast onset is the true one.
        due = run.onsets[volume] + 0.5 * 2.0 - lead
        nearest = np.abs(stamps - due).min()
        assert abs(stamps[end] - due) <= nearest + 1e-9
        assert end + 1 >= spec.n_times(4.0 if chain == "tokens" else 125.0)


def test_every_volume_with_a_whole_window_is_an_example(run: Run) -> None:
    volumes = run.examples("tokens", WindowSpec(length=10.0)).volumes
    assert volumes.tolist() == list(range(volumes[0], 40))
    later = run.examples("tokens", WindowSpec(length=20.0)).volumes
    assert later.tolist() == list(range(volumes[0] + 5, 40))


def test_a_window_longer_than_the_run_gives_no_example(run: Run) -> None:
    assert len(run.examples("samples", WindowSpec(length=500.0)).volumes) == 0


def test_a_volume_without_a_marker_is_no_example(run: Run) -> None:
    whole = run.examples("tokens", WindowSpec(length=10.0)).volumes
    run.onsets = run.onsets.copy()
    run.onsets[[12, 20]] = np.nan
    left = run.examples("tokens", WindowSpec(length=10.0)).volumes
    assert left.tolist() == [volume for volume in whole if volume not in (12, 20)]


def test_a_window_is_features_first_and_contiguous(run: Run) -> None:
    features = run.features("tokens")
    window = window_at(features, 60, 40)
    assert window.shape == (features.shape[1], 40)
    assert window.flags.c_contiguous
    assert window.dtype == np.float32
    assert np.array_equal(window.T, features[21:61], equal_nan=True)


def test_arrays_are_mapped_not_read(run: Run) -> None:
    assert isinstance(run.features("samples"), np.memmap)
    assert not run.features("samples").flags.writeable


def test_the_hash_is_that_of_the_manifest(store: Store, store_copy: Store) -> None:
    assert store.hash == store_copy.hash
    path = store_copy.path / MANIFEST
    path.write_text(path.read_text().replace('"slice_ref": 0.5', '"slice_ref": 0.25'))
    assert Store(store_copy.path).hash != store.hash


@pytest.mark.parametrize("folder", ["none", "empty", "file"])
def test_what_is_no_store_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("data")
    with pytest.raises(DatasetError, match=rf"{folder} is no prepared store.*rtfeedback prep"):
        Store(tmp_path / folder)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("store/1", "store/2", "'schema' is 'rtfeedback/store/2'"),
        ('"dataset"', '"datasets"', "'dataset' is missing"),
        ('"scanner"', '"home"', "'environment' is 'home'"),
        ("{", "", "Invalid JSON"),
        ('"n_volumes": 40', '"n_volumes": "many"', "'runs.0.n_volumes' is 'many'"),
    ],
)
def test_a_manifest_that_is_broken_or_foreign_is_refused(
    store_copy: Store, old: str, new: str, word: str
) -> None:
    path = store_copy.path / MANIFEST
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DatasetError) as caught:
        Store(store_copy.path)
    assert word in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_an_array_that_is_absent_cut_or_pickled_is_refused(store_copy: Store) -> None:
    run = store_copy.runs[FIRST]
    path = run.folder / "tokens.npy"
    whole = path.read_bytes()
    for content in (b"", whole[:40], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"tokens\.npy of the store cannot be read"):
            run.features("tokens")
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(DatasetError, match="Python objects"):
        run.features("tokens")
    path.unlink()
    with pytest.raises(DatasetError, match=r"No such file.*Prepare the dataset again"):
        run.features("tokens")


def test_a_chain_that_it_was_prepared_without_is_refused(store: Store) -> None:
    with pytest.raises(DatasetError, match=r"no chain 'token'\. It has samples, tokens"):
        store.chain("token")


def test_readings_of_the_test_part_are_counted_on_disk(store_copy: Store) -> None:
    assert [store_copy.count_test_read() for _ in range(3)] == [1, 2, 3]
    assert Store(store_copy.path).count_test_read() == 4
    assert Store(store_copy.path).hash == store_copy.hash


@pytest.mark.parametrize("text", ["", "[]", '{"read": 3}', '{"reads": null}'])
def test_a_broken_count_is_refused_rather_than_begun_again(
    store_copy: Store, text: str
) -> None:
    (store_copy.path / READS).write_text(text)
    with pytest.raises(DatasetError, match="cannot count one more reading"):
        store_copy.count_test_read()
    assert (store_copy.path / READS).read_text() == text


def test_a_manifest_is_json_that_anyone_reads(store: Store) -> None:
    manifest = json.loads((store.path / MANIFEST).read_text())
    assert manifest["schema"] == "rtfeedback/store/1"
    assert [run["name"] for run in manifest["runs"]] == list(store.runs)

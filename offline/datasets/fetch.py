"""Download a dataset of OpenNeuro, whole or not at all; what was begun goes on next time."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from offline.datasets.tables import read_json
from rtfeedback.errors import DatasetError, OutputError, RtfeedbackError

DESCRIPTION = "dataset_description.json"
RETRIES = 3  # of a request: some 4 s without a network
_DATASET = re.compile(r"ds\d{6}")
_LABEL = re.compile(r"[A-Za-z0-9]+")


def fetch(
    dataset: str,
    out: Path,
    subjects: Sequence[str] = (),
    *,
    exclude: Sequence[str] = (),
    retries: int = RETRIES,
) -> Path:
    """Download a dataset through openneuro-py, and return its folder.

    It lies in a hidden folder beside `out` until all of it is there, and is checked by
    size and hash. Into a folder that holds the dataset already, more subjects are added.

    Parameters
    ----------
    dataset : str
        Such as `ds002336`.
    out : Path
    subjects : sequence of str
        With or without `sub-`; all of them without. Their derivatives come with them.
    exclude : sequence of str
        Patterns of files to leave out, such as `*_T1w.nii.gz`.
    retries : int
        Of each request.

    Raises
    ------
    RtfeedbackError
        If the extra `fetch` is not installed.
    DatasetError
        If there is no such dataset or subject, or no network.
    OutputError
        If `out` holds something else, or cannot be written.
    """
    if not _DATASET.fullmatch(dataset):
        raise DatasetError(
            f"'{dataset}' is no dataset of OpenNeuro", do="Name one, such as ds002336"
        )
    labels = sorted({_label(each) for each in subjects})
    _check_out(out)
    download = _library()
    stage = _stage(out, [dataset, *labels, *exclude])
    # openneuro-py takes a description without a DOI, as some datasets have, for another
    # dataset's, and stops; each file is checked for itself anyway.
    (stage / DESCRIPTION).unlink(missing_ok=True)
    try:
        with redirect_stdout(StringIO()):  # it greets, and says what is said below; no bar
            download(
                dataset=dataset,
                target_dir=stage,
                include=["/*.*", *(f"**/sub-{each}/**" for each in labels)] if labels else None,
                exclude=list(exclude),
                max_retries=retries,
            )
    except Exception as error:  # the library raises whatever a network makes it
        raise _failed(dataset, stage, error) from error
    _move(stage, out, dataset)
    return out


def _label(subject: str) -> str:
    label = subject.strip().removeprefix("sub-")
    if not _LABEL.fullmatch(label):
        raise DatasetError(
            f"'{subject}' is no subject",
            do="Name subjects by their labels, with commas between them: xp101,xp102",
        )
    return label


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is there already", do="Name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / DESCRIPTION).is_file():
        raise OutputError(f"{out} holds something else", do="Name a new folder, or empty it")


def _library() -> Callable[..., Any]:
    try:
        from openneuro import download
    except ImportError as error:
        raise RtfeedbackError(
            "Downloading needs openneuro-py, which is not installed",
            found=str(error),
            do="pip install 'rtfeedback[fetch]'",
        ) from error
    return download  # type: ignore[no-any-return]


def _stage(out: Path, request: Sequence[str]) -> Path:
    """Return the hidden folder that this request fills, and the same one next time."""
    digest = hashlib.sha256("\n".join(request).encode()).hexdigest()[:8]
    out = out.absolute()
    return out.parent / f".{out.name}-{digest}.fetching"


def _failed(dataset: str, stage: Path, error: Exception) -> DatasetError:
    n_files = sum(1 for path in stage.rglob("*") if path.is_file()) if stage.is_dir() else 0
    kept = f"; what came so far lies in {stage}, and will not come again" if n_files else ""
    if not n_files:
        shutil.rmtree(stage, ignore_errors=True)
    return DatasetError(
        f"{dataset} could not be downloaded",
        found=_first_words(error) + kept,
        do="Check the name, the subjects and the network, and run the same command again."
        f" Or take the dataset from https://openneuro.org/datasets/{dataset}/download, or by"
        f" 'datalad install https://github.com/OpenNeuroDatasets/{dataset}.git' and"
        " 'datalad get' of the subjects' folders",
    )


def _first_words(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words[:300].rstrip(" .")


def _move(stage: Path, out: Path, dataset: str) -> None:
    """Give the stage its name, or move its files, whole each, into the dataset's folder."""
    try:
        if not out.exists() or not any(out.iterdir()):
            os.replace(stage, out)
            return
        here, there = read_json(out / DESCRIPTION), read_json(stage / DESCRIPTION)
        if here.get("Name") != there.get("Name"):
            raise OutputError(
                f"{out} holds another dataset than {dataset}",
                found=f"'{here.get('Name')}', not '{there.get('Name')}'",
                do="Name another folder",
            )
        for path in sorted(stage.rglob("*")):
            if path.is_file():
                target = out / path.relative_to(stage)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
        shutil.rmtree(stage)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be written", found=error.strerror or str(error), do="Choose another"
        ) from error

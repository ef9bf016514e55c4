"""What of the EEG a checkpoint goes by, as numbers and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from offline.evaluation.held_out import check_store
from offline.evaluation.metrics import pearson
from offline.evaluation.report import table
from offline.explanation.attention import ChannelAttention, LagAttention, attention_of
from offline.explanation.figures import attention_figure, filters_figure, share_figure
from offline.explanation.filters import LinearWeights, SpatialFilters, filters_of
from offline.explanation.gradients import Contributions, unmasked
from offline.explanation.pairs import Pairs, pairs_of, windows_of
from offline.explanation.shares import Shares
from offline.explanation.topography import Head
from offline.explanation.views import View, view_of
from offline.progress import progress
from offline.splits.parts import SHUFFLED
from offline.store.dataset import SEMI_SYNTHETIC, Store
from offline.store.examples import Examples
from offline.training.training_process import training_process
from rtfeedback.checkpoint import Checkpoint, CheckpointSpec
from rtfeedback.errors import CheckpointError
from rtfeedback.folders import new_folder
from rtfeedback.models.monte_carlo import network_of
from rtfeedback.signals import Float64, Int64

REPORT, SHARE, ATTENTION, FILTERS = (
    "explain.json", "share.png", "attention.png", "filters.png",
)  # fmt: skip
PAIRS = 100
BATCH = 16  # windows
FOR_FILTERS = 200  # windows of the training part, evenly spread
SHOWN = 5  # channels, bands and lags of the table
NO_SKILL = 0.1  # validation r below which an explanation is of noise
DIGITS = 5


def explain(
    checkpoint: Checkpoint,
    store: Store,
    out: Path,
    *,
    target: str | None = None,
    pairs: int = PAIRS,
) -> dict[str, Any]:
    """Tell what of the EEG a model goes by; nothing of the test part is read.

    Pairs of validation windows are told apart by what contributes to the difference of
    their predictions (`Contributions`), by channel, frequency and lag. Filters become
    patterns by the training part's covariance.

    Parameters
    ----------
    checkpoint : Checkpoint
    store : Store
        The one that it was trained on.
    out : Path
        New folder.
    target : str, optional
        The checkpoint's first without.
    pairs : int
        At most.

    Returns
    -------
    dict
        What `explain.json` holds.

    Raises
    ------
    DatasetError
        If the store is another, or the validation part holds no pair of windows.
    CheckpointError
        If there is no such target, or the model predicts the same whatever the EEG.
    RtfeedbackError
        If the extra `explain` is not installed.
    OutputError
        If `out` is there already or cannot be written.
    """
    spec, model = checkpoint.spec, checkpoint.model
    network = network_of(model)
    check_store(spec, store)
    index = _index(spec, target)
    contributions = Contributions(model, view_of(spec.chain, spec.window), index)
    with new_folder(out) as folder:
        with training_process():  # gradients, as there
            windows = _Windows(checkpoint, windows_of(spec, store, "validation"))
            compared = pairs_of(windows.examples, pairs)
            predicted = windows.predicted(contributions, compared.windows)
            shares = _shares(contributions, windows, compared, predicted)
            training = _Windows(checkpoint, windows_of(spec, store, "train"))
            found = _Found(
                shares.share(),
                shares.direction(),
                attention_of(network, spec, windows.batches(compared.windows)),
                filters_of(
                    network, spec, index, training.batches(training.spread(FOR_FILTERS))
                ),
            )
        r = windows.r(index, compared.windows, predicted)
        unexplained = shares.unexplained()
        report = _report(checkpoint, store, index, windows.examples, compared, r, unexplained)
        report |= _numbers(found, spec, contributions.view)
        _draw(folder, found, spec, contributions.view, report)
        text = json.dumps(report, indent=1, allow_nan=False) + "\n"
        (folder / REPORT).write_text(text, encoding="utf-8")
    return report


def print_explanation(report: dict[str, Any]) -> None:
    """Print what has the largest shares."""
    share = report["share"]
    columns = [
        _largest(report["channels"], share["by_channel"]),
        _largest(
            [f"{low:.3g}-{high:.3g} Hz" for low, high in report["bands"]], share["by_band"]
        ),
        _largest([f"{lag:.3g} s" for lag in report["lags"]], share["by_lag"]),
    ]
    n = min(map(len, columns))
    rows = [[cell for column in columns for cell in column[i]] for i in range(n)]
    headers = ["channel", "share", "frequency", "share", "lag", "share"]
    table(
        rows, headers, f"{report['model']}: what predictions of '{report['target']}' differ by"
    )
    print(report["note"])  # noqa: T201


@dataclass(frozen=True, slots=True)
class _Found:
    share: Float64
    direction: Float64
    attention: ChannelAttention | LagAttention | None
    filters: SpatialFilters | LinearWeights | None


class _Windows:
    """Windows of a part as the model takes them, nothing masked among them."""

    def __init__(self, checkpoint: Checkpoint, examples: Examples) -> None:
        self.examples, self._model = examples, checkpoint.model
        self._targets = checkpoint.spec.targets

    def __call__(self, which: Int64) -> Tensor:
        return unmasked(self._model, torch.from_numpy(self.examples.gather(which)))

    def batches(self, which: Int64) -> Iterator[Tensor]:
        for at in range(0, len(which), BATCH):
            yield self(which[at : at + BATCH])

    def spread(self, n: int) -> Int64:
        """Return n windows, or all, evenly spread."""
        every = len(self.examples)
        return np.unique(np.linspace(0, every - 1, min(n, every)).round().astype(np.int64))

    @torch.inference_mode()
    def predicted(self, contributions: Contributions, which: Int64) -> Float64:
        """Return a prediction for each window of the part, NaN for others than these."""
        z = np.full(len(self.examples), np.nan)
        each = [contributions.predict(x) for x in self.batches(which)]
        z[which] = torch.cat(each).double().numpy()
        return z

    def r(self, target: int, which: Int64, predicted: Float64) -> float | None:
        """Return the correlation of predictions with what was measured."""
        measured = self.examples.z(self._targets)[which, target]
        if len(which) < 3 or np.ptp(measured) == 0 or np.ptp(predicted[which]) == 0:
            return None
        return pearson(measured, predicted[which])


def _shares(
    contributions: Contributions, windows: _Windows, pairs: Pairs, predicted: Float64
) -> Shares:
    view = contributions.view
    shares: Shares | None = None
    every = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    for first, second in progress(every, "Comparing windows", total=len(pairs)):
        x = windows(np.array([first, second]))
        each = contributions(x[0], x[1]).double().numpy()
        level = view.level(view.analyse(x)).double().numpy()
        shares = shares or Shares(each.shape)
        shares.add(each, float(predicted[first] - predicted[second]), level[0] - level[1])
    assert shares is not None
    return shares


def _index(spec: CheckpointSpec, target: str | None) -> int:
    names = [each.name for each in spec.targets]
    if target is None:
        return 0
    if target not in names:
        raise CheckpointError(
            f"The checkpoint has no target '{target}'",
            found=f"It has {', '.join(names)}",
            do="Name one of them",
        )
    return names.index(target)


def _report(
    checkpoint: Checkpoint,
    store: Store,
    target: int,
    examples: Examples,
    pairs: Pairs,
    r: float | None,
    unexplained: float,
) -> dict[str, Any]:
    spec = checkpoint.spec
    return {
        "checkpoint": checkpoint.hash,
        "store": store.hash,
        "model": spec.model.name,
        "target": spec.targets[target].name,
        "note": _note(spec, store, r, unexplained),
        "part": "validation",
        "runs": [run.name for run in examples.runs],
        "windows": len(pairs.windows),
        "pairs": len(pairs),
        "r": r,
        "unexplained": unexplained,
    }


def _note(spec: CheckpointSpec, store: Store, r: float | None, unexplained: float) -> str:
    """Return what has to stand by every picture."""
    told = "no r" if r is None else f"r = {r:.2f}"
    names = spec.training.validation
    if r is not None and any(store.runs[name].manifest.conditions for name in names):
        told += ", the task included"
    lines = [f"What the model goes by in its validation part ({told}), not what a brain does."]
    lines.append(f"Contributions add up to within {unexplained:.1%}.")
    if r is None or r < NO_SKILL:
        lines.append("It predicts next to nothing there: what it goes by is noise.")
    if spec.training.split == "shuffled":
        lines.append(SHUFFLED)
    if store.manifest.semi_synthetic:
        lines.append(SEMI_SYNTHETIC)
    return " ".join(lines)


def _numbers(found: _Found, spec: CheckpointSpec, view: View) -> dict[str, Any]:
    share = found.share
    return {
        "channels": list(spec.chain.channels),
        "without_position": Head(spec.chain.channels).unknown,
        "bands": _plain(np.array(view.bands)),
        "lags": _plain(view.lags),
        "share": {
            "by_channel": _plain(share.sum((1, 2))),
            "by_band": _plain(share.sum((0, 2))),
            "by_lag": _plain(share.sum((0, 1))),
            "by_channel_and_band": _plain(share.sum(2)),
            "by_channel_and_lag": _plain(share.sum(1)),
            "by_band_and_lag": _plain(share.sum(0)),
        },
        "direction": _plain(found.direction),
        "attention": _fields(found.attention),
        "filters": _fields(found.filters),
    }


def _draw(
    folder: Path, found: _Found, spec: CheckpointSpec, view: View, report: dict[str, Any]
) -> None:
    head, about = Head(spec.chain.channels), f"{spec.model.name}, '{report['target']}'"
    title, note = f"{about}: what predictions differ by", str(report["note"])
    share_figure(folder / SHARE, found.share, head, view.bands, view.lags, title, note)
    if found.attention:
        attention_figure(folder / ATTENTION, found.attention, head, f"{about}: attention")
    if found.filters:
        title = f"{about}: learnt filters"
        filters_figure(folder / FILTERS, found.filters, head, view.bands, title)


def _fields(found: Any) -> dict[str, Any] | None:
    if found is None:
        return None
    names = [*found.__slots__]
    return {"kind": type(found).__name__} | {
        name: _plain(value) if isinstance(value := getattr(found, name), np.ndarray) else value
        for name in names
    }


def _plain(values: Float64) -> list[Any]:
    """Return numbers with as many digits as mean something."""
    digits = np.char.mod(f"%.{DIGITS}g", values).astype(np.float64)
    plain: list[Any] = digits.tolist()
    return plain


def _largest(names: list[str], shares: list[float]) -> list[tuple[str, float]]:
    order = np.argsort(-np.array(shares), kind="stable")[:SHOWN]
    return [(names[i], shares[i]) for i in order]

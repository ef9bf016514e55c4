"""The whole job in one go, from a dataset to feedback values, checked value by value."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from offline.eeg.recordings import read_recording
from offline.evaluate import REPORT, evaluate, print_report
from offline.evaluation.metrics import pearson
from offline.evaluation.report import table
from offline.prepare import PrepareConfig, prepare
from offline.progress import console
from offline.rehearsal import Lane, Rehearsal, rehearse, write_lsl_config
from offline.simulate import SimulateConfig, simulate
from offline.store.dataset import SEMI_SYNTHETIC, Store
from offline.train import TrainConfig, train
from rtfeedback.errors import OutputError, RecordingError
from rtfeedback.predictor import LARGEST_Z, Predictor
from rtfeedback.signals import Float64

FAST = 10.0  # times real time, for identity
HOP = 0.25  # s, for latency
MASK = "derivatives/simulated/motor_mask.nii.gz"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the table says of one model.

    Attributes
    ----------
    model : str
    r_offline, r_online : float
        Correlation with the measured course of the streamed run.
    identical, compared : int
        Online values that equal the offline ones to the bit, and how many there were.
    latency_p50, latency_p99 : float
        From the newest sample received to the message received, in milliseconds.
    n_latency : int
    lost : int
        Samples pushed that the daemon did not receive, or that it missed.
    replayed, published : int
        Messages that are the same when the runs are replayed, and how many there were.
    """

    model: str
    r_offline: float
    r_online: float
    identical: int
    compared: int
    latency_p50: float
    latency_p99: float
    n_latency: int
    lost: int
    replayed: int
    published: int

    @property
    def passed(self) -> bool:
        """Whether every value is identical, at both speeds and replayed, and none was lost."""
        identical = self.identical == self.compared and self.compared > 0
        replayed = self.replayed == self.published
        return identical and replayed and self.n_latency > 0 and self.lost == 0


def run_demo(out: Path, *, eeg: tuple[Path, ...], quick: bool, seed: int) -> bool:
    """Simulate, prepare, train, evaluate, stream, receive and report.

    Parameters
    ----------
    out : Path
        New folder for all that is made.
    eeg : tuple of Path
        Real recordings to build a semi-synthetic dataset on; the last is held out.
    quick : bool
        One subject, two short runs, ridge, and 20 s at speed 1.
    seed : int
        Of the simulation and the training.

    Returns
    -------
    bool
        Whether every online value is identical and no sample was lost.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is there already", do="Name a new folder with --out")
    if len(eeg) == 1:
        raise RecordingError(
            "The demo needs two recordings or more: the last one is held out",
            found=f"one, {eeg[0]}",
            do="Name another with --eeg",
        )
    began = time.monotonic()
    sizes = {"subjects": 1, "runs": 2, "volumes": 40} if quick else {}
    _title("1 simulate")
    simulate(out / "bids", SimulateConfig(seed=seed, **sizes), eeg=eeg)
    _title("2 prepare")
    targets = {"targets": [{"name": "motor", "mask": MASK}]}
    environment = {"environment": "outside"} if eeg else {}
    config = PrepareConfig.model_validate(targets | environment)
    store = Store(prepare(out / "bids", out / "prepared", config))
    predictors = {}
    for model in ("ridge",) if quick else ("ridge", "eegnet"):
        _title(f"3 train {model}")
        recipe = TrainConfig.model_validate({"model": {"name": model}, "seed": seed})
        train(store, out / "checkpoints" / model, recipe)
        predictors[model] = Predictor.load(out / "checkpoints" / model, "cpu")
    reports = {}
    for model, predictor in predictors.items():
        _title(f"4 evaluate {model}")
        reports[model] = evaluate(predictor, store, out / "evaluation" / model)
        print_report(reports[model])
    outcomes = _stream(out, store, reports, 20.0 if quick else 60.0)
    _print_outcomes(outcomes, store)
    _write(out / "demo.json", outcomes, store, seed, time.monotonic() - began)
    return all(outcome.passed for outcome in outcomes)


def _stream(
    out: Path, store: Store, reports: dict[str, dict[str, Any]], seconds: float
) -> list[Outcome]:
    held_out = next(iter(reports.values()))["runs"][-1]["name"]
    recording = Path(store.runs[held_out].manifest.eeg_file)
    info = read_recording(recording)
    n_samples, sfreq = len(info.samples), info.info.sfreq
    lsl_config = write_lsl_config(out / "lsl_api.cfg", f"demo-{uuid.uuid4().hex[:12]}")

    def lanes(kind: str, speed: float, hop: float | None) -> list[Lane]:
        return [
            Lane(
                out / "streaming" / f"{kind}-{model}",
                recording,
                out / "checkpoints" / model,
                lsl_config=lsl_config,
                speed=speed,
                hop=hop,
            )
            for model in reports
        ]

    _title(f"5 stream {held_out}: LSL -> run -> ZeroMQ")
    whole = _rehearse(lanes("identity", FAST, None), n_samples, f"whole run, speed {FAST:g}")
    enough = min(n_samples, round(seconds * sfreq))
    live = _rehearse(
        lanes("latency", 1.0, HOP), enough, f"{seconds:g} s, speed 1, hop {HOP:g} s"
    )
    return [
        outcome(reports[model], fast, slow, n_samples)
        for model, fast, slow in zip(reports, whole, live, strict=True)
    ]


def _rehearse(lanes: list[Lane], enough: int, description: str) -> list[Rehearsal]:
    with Progress(console=console) as bar:
        task = bar.add_task(description, total=enough)
        return rehearse(lanes, enough, lambda done: bar.update(task, completed=done))


def outcome(
    report: dict[str, Any], whole: Rehearsal, live: Rehearsal, n_samples: int
) -> Outcome:
    """Compare what a client received with what `evaluate` computed.

    Every volume of the whole run counts, and each up to the last that was streamed at
    speed 1: one with a window offline has to have the same value online, one without has
    to be invalid.
    """
    run = report["runs"][-1]
    offline = dict(
        zip(run["volumes"], zip(run["predicted"], run["z"], strict=True), strict=True)
    )
    # What the daemon takes for an artefact is computed offline all the same.
    offline = {k: pair for k, pair in offline.items() if abs(pair[1]) <= LARGEST_Z}
    scanned = max([*run["volumes"], *run["artefacts"]]) + 1
    online = _by_volume(whole, report["target"], scanned)
    same = [online.get(volume) == offline.get(volume) for volume in {*offline, *online}]
    again = _by_volume(live, report["target"], scanned)
    streamed = {volume for volume in offline if volume <= max(again, default=-1)}
    same += [again.get(volume) == offline.get(volume) for volume in {*streamed, *again}]
    measured = dict(zip(run["volumes"], run["measured"], strict=True))
    valid = [(measured[k], pair[0]) for k, pair in online.items() if pair and k in measured]
    pairs: Float64 = np.array(valid, dtype=np.float64).reshape(-1, 2)
    latencies = _latencies(live)
    return Outcome(
        model=report["model"],
        r_offline=run["r"],
        r_online=pearson(pairs[:, 0], pairs[:, 1]) if len(pairs) else 0.0,
        identical=sum(same),
        compared=len(same),
        latency_p50=float(np.percentile(latencies, 50)) if len(latencies) else float("nan"),
        latency_p99=float(np.percentile(latencies, 99)) if len(latencies) else float("nan"),
        n_latency=len(latencies),
        lost=abs(n_samples - whole.received) + whole.lost + live.lost,
        replayed=whole.replayed + live.replayed,
        published=len(whole.feedback) + len(live.feedback),
    )


def _by_volume(
    rehearsal: Rehearsal, target: str, n_volumes: int
) -> dict[int, tuple[float, float] | None]:
    """Return raw and z of each volume of the BOLD, None where the message was invalid.

    The daemon predicts one or two more, as it takes the markers after the last for missing.
    """
    found: dict[int, tuple[float, float] | None] = {}
    for message in rehearsal.feedback:
        if message["volume"] is not None and message["volume"] < n_volumes:
            roi = message["rois"][target]
            found[message["volume"]] = (roi["raw"], roi["z"]) if message["valid"] else None
    return found


def _latencies(rehearsal: Rehearsal) -> list[float]:
    """Return ms from newest sample received to message received, of valid messages."""
    return [
        message["age_ms"] + 1000 * (message["receive_time"] - message["publish_time"])
        for message in rehearsal.feedback
        if message["valid"]
    ]


def _print_outcomes(outcomes: list[Outcome], store: Store) -> None:
    rows = [
        [
            each.model,
            f"{each.r_offline:.3f}",
            f"{each.r_online:.3f}",
            f"{each.identical} of {each.compared}",
            f"{each.latency_p50:.1f}",
            f"{each.latency_p99:.1f}",
            str(each.n_latency),
            str(each.lost),
            f"{each.replayed} of {each.published}",
        ]
        for each in outcomes
    ]
    headers = [
        *("model", "r offline", "r online", "values identical"),
        *("latency p50 ms", "p99 ms", "n", "samples lost", "replayed"),
    ]
    table(rows, headers, "The held-out run, offline and through LSL, daemon and ZeroMQ")
    if store.manifest.semi_synthetic:
        print(SEMI_SYNTHETIC)  # noqa: T201
    passed = all(outcome.passed for outcome in outcomes)
    print(  # noqa: T201
        "Every volume's online value is identical to the offline one and to its replay, and no"
        " sample was lost."
        if passed
        else "FAILED: an online value differs from the offline one, or a sample was lost."
    )


def _write(
    path: Path, outcomes: list[Outcome], store: Store, seed: int, seconds: float
) -> None:
    content = {
        "semi_synthetic": store.manifest.semi_synthetic,
        "note": SEMI_SYNTHETIC if store.manifest.semi_synthetic else "",
        "seed": seed,
        "seconds": round(seconds, 1),
        "models": [asdict(each) | {"passed": each.passed} for each in outcomes],
        "reports": [f"evaluation/{each.model}/{REPORT}" for each in outcomes],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _title(text: str) -> None:
    console.rule(text, align="left")

"""The model on its device: what a run with it is flagged with, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import prod
from statistics import median
from typing import Any, Protocol

import numpy as np

from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.doctor.finding import Finding, fail, ok, warn
from rtfeedback.online.settings import RunConfig, RunOptions, run_flags
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32

TRIALS = 20
SHARE = 3  # an inference takes a third of the time between two values, at most


class Predicts(Protocol):
    """What is timed of a predictor."""

    shape: tuple[int, int]

    def warm_up(self) -> None:
        """Make the first predictions, which are slow."""

    def __call__(self, window: Float32, /) -> Any:
        """Predict from a window, shape (n_features, n_times)."""


def describe_model(predictor: Predictor) -> Finding:
    """Say which checkpoint it is, and what it needs."""
    spec, checkpoint = predictor.spec, predictor.checkpoint
    return ok(
        "model",
        f"{checkpoint.path}: {spec.model.name}, hash {checkpoint.hash[:12]},"
        f" {len(spec.chain.channels)} channels at {spec.chain.sfreq:g} Hz,"
        f" windows of {spec.window.length:g} s, lead {spec.window.lead:g} s, TR {spec.tr:g} s,"
        f" trained on EEG from '{spec.environment}'",
    )


def check_flags(spec: CheckpointSpec, config: RunConfig, options: RunOptions) -> Finding:
    """Say what every message of a run would be flagged with.

    Raises
    ------
    CheckpointError
        As a run would be refused.
    """
    flags = run_flags(spec, config, options)
    if not flags:
        return ok("flags", "No message is flagged")
    found = f"Every message is flagged {', '.join(flags)}"
    if "environment_assumed" in flags:
        return warn("flags", found, "State [session] environment in --config")
    return warn("flags", found)


def check_inference(
    predictor: Predicts,
    period: float,
    device: str,
    *,
    now: Callable[[], float] = time.perf_counter,
) -> Finding:
    """Time inferences against the time between two values.

    Parameters
    ----------
    predictor : Predicts
    period : float
        Seconds from value to value: the hop, else the TR.
    device : str
        What the predictor runs on.
    now : callable
        A clock, in seconds.
    """
    predictor.warm_up()
    window = _window(predictor)
    times = [_timed(lambda: predictor(window), now) for _ in range(TRIALS)]
    typical, slowest = median(times), max(times)
    found = (
        f"{1000 * typical:.2f} ms on {device}, {1000 * slowest:.2f} ms at worst of {TRIALS};"
        f" a value is due each {1000 * period:g} ms"
    )
    do = "Use --device cuda, a longer --hop, or a smaller model"
    if typical > period:
        return fail("inference", f"{found}, so that each would be late", do)
    if slowest > period / SHARE:
        return warn("inference", f"{found}: more than a third of that", do)
    return ok("inference", found)


def check_volume(
    predictor: Predictor, tr: float, *, now: Callable[[], float] = time.perf_counter
) -> Finding:
    """Time what a whole volume takes beyond its regions, against the time between two.

    Parameters
    ----------
    predictor : Predictor
        Of whole volumes.
    tr : float
        Seconds from one volume that is published to the next.
    now : callable
        A clock, in seconds.
    """
    spec = predictor.spec.volume
    assert spec is not None
    window, times = _window(predictor), []
    for _ in range(TRIALS):
        predictor(window)
        times.append(_timed(predictor.volume, now))
    typical, slowest = median(times), max(times)
    size = 4 * prod(spec.grid) / 2**20
    found = (
        f"{1000 * typical:.2f} ms for a whole volume beyond its regions,"
        f" {1000 * slowest:.2f} ms at worst of {TRIALS}; {size:.1f} MiB go out each {tr:g} s"
    )
    if slowest > tr / SHARE:
        do = "Raise [volume] every, use --device cuda, or a smaller model"
        return warn("volume", f"{found}: more than a third of that", do)
    return ok("volume", found)


def _window(predictor: Predicts) -> Float32:
    return np.random.default_rng(0).normal(0, 1e-5, predictor.shape).astype(np.float32)


def _timed(job: Callable[[], object], now: Callable[[], float]) -> float:
    began = now()
    job()
    return now() - began

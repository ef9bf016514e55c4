"""What a run would make of the seconds that were heard: its doubts, and its masks."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np

from rtfeedback.artefacts import ArtefactRule
from rtfeedback.chain import Chain
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.doctor.finding import Finding, fail, ok, warn
from rtfeedback.doctor.listening import Heard
from rtfeedback.online.plausibility import LOCKED, Plausibility
from rtfeedback.online.timeline import GAP, Timeline
from rtfeedback.signals import Bool, Float32, StreamInfo
from rtfeedback.volume_locked import ENOUGH


def check_plausibility(
    heard: Heard, spec: CheckpointSpec, info: StreamInfo, tr: float, *, gap: float = GAP
) -> Iterator[Finding]:
    """Pass what was heard through timeline, chain and doubts of a run.

    The rate is judged elsewhere: `timing.py` can tell it in fewer seconds.

    Parameters
    ----------
    heard : Heard
    spec : CheckpointSpec
        Whose chain the stream fits.
    info : StreamInfo
    tr : float
        Seconds.
    gap : float
        A jump of the stamps by more than this, in seconds, is a gap.
    """
    watch = Plausibility(spec, tr)
    rows = _settled_rows(heard, Chain(spec.chain, info, tap=watch.tap), watch, gap)
    if watch.doubt and watch.doubt.reason != "rate":
        yield fail(watch.doubt.reason, watch.doubt.found, watch.doubt.do)
    if watch.magnitude:
        yield ok("training", f"The amplitude is {watch.magnitude:.2g} times the training's")
    yield _describe_locked(watch.locked, tr)
    if spec.chain.artefacts:
        yield _judge_masks(rows, spec)


def _settled_rows(heard: Heard, chain: Chain, watch: Plausibility, gap: float) -> Float32:
    """Return what a run would have put into its ring, shape (n, n_features)."""
    timeline = Timeline(chain.spec.sfreq, gap)
    rows = [np.empty((0, chain.spec.n_features), np.float32)]
    for chunk in heard.chunks:
        for piece in timeline.push(chunk, chain.usable(chunk)):
            if piece.begins:
                chain.reset()
                watch.begin()
            features, index = chain.push(piece.samples)
            watch.hear(chain.recorded(piece.samples))
            watch.look(piece.stamps, timeline)
            rows.append(features[index >= chain.warm_up])
    return np.concatenate(rows)


def _describe_locked(share: float | None, tr: float) -> Finding:
    if share is None:
        found = f"Gradient artefact shows after {ENOUGH + 1} TRs of a running scanner"
        return ok("scanner", f"{found}: --duration {ceil((ENOUGH + 1) * tr) + 1}")
    found = f"{share:.0%} of the variance repeats each {tr:g} s; raw EEG in a scanner has over"
    return ok("scanner", f"{found} {LOCKED:.0%}")


def _judge_masks(rows: Float32, spec: CheckpointSpec) -> Finding:
    if not len(rows):
        return warn("artefacts", "Too little came to tell", "Listen for longer: --duration 20")
    rule = ArtefactRule(spec.chain, spec.window)
    window, masked = _window_like(rows, spec), np.isnan(rows)
    names = rule.names(window)
    found = f"{masked.mean():.0%} of the channels' time is masked"
    if rule.allows(window):
        return ok("artefacts", found)
    found += f", much of it in {', '.join(names)}: a window that went on so would be invalid"
    if _always(masked, names, spec):
        return fail("artefacts", found, "Mend these electrodes, or all feedback is invalid")
    return warn("artefacts", found, "Let the subject sit still, or mend these electrodes")


def _window_like(rows: Float32, spec: CheckpointSpec) -> Float32:
    """Return a window that goes on as the rows do, shape (n_features, n_times)."""
    n_times = spec.window.n_times(spec.chain.rate)
    again = np.arange(-n_times, 0) % len(rows)
    return np.ascontiguousarray(rows[again].T)


def _always(masked: Bool, names: tuple[str, ...], spec: CheckpointSpec) -> bool:
    """Tell whether any of these channels was masked in every row."""
    n_bands = spec.chain.n_bands
    columns = [n_bands * spec.chain.channels.index(name) for name in names]
    return bool(masked[:, columns].all(axis=0).any())

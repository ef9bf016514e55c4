"""Whether the numbers look like EEG: dead channels, size in volts, mains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import signal

from rtfeedback.chain import ChainSpec
from rtfeedback.chain.front import Front
from rtfeedback.chain.pick import Pick
from rtfeedback.chain.reference import Reference
from rtfeedback.doctor.finding import Finding, fail, ok, warn
from rtfeedback.signals import Float32, Float64, StreamInfo

EEG = (0.5e-6, 200e-6)  # V rms after the filter
BLOCK = 0.5  # s; the median over blocks is not moved by a blink
MAINS = (50.0, 60.0)  # Hz
LOUD = 0.5  # of the power from 1 Hz on
SELDOM = 0.01  # of the time; a recording that ends in zeros is flat for less
NAMED = 8  # channels, at most


def check_amplitude(samples: Float32, spec: ChainSpec, info: StreamInfo) -> Iterator[Finding]:
    """Judge the channels that a model reads, in volts.

    Parameters
    ----------
    samples : float32, shape (n_times, n_stream_channels)
        As received, in the stream's unit.
    spec : ChainSpec
    info : StreamInfo
    """
    pick = Pick(spec, info)
    volts, names = pick(samples), [info.channels[i] for i in pick.columns]
    numbers = np.isfinite(volts)
    yield _judge_numbers(numbers, names)
    whole = numbers.all(axis=1)
    if not whole.any():
        return
    volts, samples = np.ascontiguousarray(volts[whole]), samples[whole]
    length = max(1, round(BLOCK * spec.sfreq))
    yield _judge_flat(volts, names, length)
    front = Front(spec, info)
    filtered = front(samples).filtered[int(front.warm_up) :]
    yield _judge_size(filtered, length, _units(pick, info))
    channels = Reference(spec)(volts)[:, : len(spec.channels)]
    yield from _judge_mains(channels, spec)


def _judge_numbers(numbers: Float64, names: Sequence[str]) -> Finding:
    share = 1 - numbers.mean(axis=0)
    broken = [name for name, part in zip(names, share, strict=True) if part]
    if not broken:
        return ok("numbers", f"Every sample of {len(names)} channels is one")
    found = f"{np.max(share):.0%} of the samples of {_list(broken)} are no numbers"
    do = "Have the amplifier's program send numbers, or train without: each such is a loss"
    if not numbers.all(axis=1).any():
        return fail("numbers", found, do)
    return warn("numbers", found, do)


def _judge_flat(volts: Float64, names: Sequence[str], length: int) -> Finding:
    still = np.ptp(_in_blocks(volts, length), axis=1) == 0
    share = still.mean(axis=0) if len(still) else np.zeros(len(names))
    flat = [name for name, part in zip(names, share, strict=True) if part >= SELDOM]
    if not flat:
        return ok("flat channels", f"None of {len(names)}")
    often = (
        "never changed" if np.min(share[share >= SELDOM]) == 1 else f"{np.max(share):.0%} flat"
    )
    found = f"{_list(flat)}: {often}; dead, off, or at the end of their range"
    return warn("flat channels", found, "Mend the electrodes, or train without them")


def _judge_size(filtered: Float64, length: int, units: str) -> Finding:
    if len(filtered) < length:
        do = "Listen for longer: --duration 20"
        return warn("amplitude", "Too little came to measure it", do)
    rms = np.median(np.sqrt(np.mean(_in_blocks(filtered, length) ** 2, axis=1)), axis=0)
    size = float(np.median(rms))
    low, high = EEG
    found = (
        f"{1e6 * size:.3g} uV rms after the filter, with {units} stated;"
        f" EEG has {1e6 * low:g} to {1e6 * high:g} uV"
    )
    if low <= size <= high:
        return ok("amplitude", found)
    return warn("amplitude", found, "Have the amplifier's program state the unit it sends in")


def _judge_mains(channels: Float64, spec: ChainSpec) -> Iterator[Finding]:
    length = min(len(channels), round(2 * spec.sfreq))
    f, power = signal.welch(channels, spec.sfreq, nperseg=length, axis=0)
    total = power[f >= 1].sum(axis=0)
    shares = {
        mains: power[np.abs(f - mains) <= 1].sum(axis=0) / np.where(total > 0, total, 1)
        for mains in MAINS
        if mains < spec.sfreq / 2 - 1
    }
    if not shares:
        return
    mains = max(shares, key=lambda each: float(np.median(shares[each])))
    share, worst = float(np.median(shares[mains])), int(np.argmax(shares[mains]))
    found = (
        f"{mains:g} Hz is {share:.0%} of the power from 1 Hz on, before the filter; most in"
        f" {spec.channels[worst]}: {float(shares[mains][worst]):.0%}"
    )
    if share <= LOUD:
        yield ok("mains", found)
    elif mains in spec.config.notch:
        yield warn("mains", found, "Check ground, reference and cables; a notch takes it out")
    else:
        yield warn("mains", found, f"Check ground and cables: no notch is at {mains:g} Hz")


def _in_blocks(x: Float64, length: int) -> Float64:
    """Return whole blocks of x, shape (n_blocks, length, n_channels)."""
    return x[: len(x) // length * length].reshape(-1, length, x.shape[1])


def _units(pick: Pick, info: StreamInfo) -> str:
    return " and ".join(sorted({f"'{info.units[i]}'" for i in pick.columns}))


def _list(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")

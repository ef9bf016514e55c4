"""How much of a GPU's matrix-product peak a training step uses, and what bounds it.

    python -m bench.gpu_share [--rounds N] [--precision float32|bfloat16] [--write]

On a CUDA device alone. The peak is measured here: the best rate of a large product in the
precision that training has, and of a copy of memory. A step's arithmetic is counted by torch
(products and convolutions alone), the time that the device was busy by its profiler. `--write`
puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.paper import PAPER, Case
from bench.stepping import Step, made, timed, trainable
from bench.tables import markdown_table, provenance, put
from offline.training.fit_config import FitConfig
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.models import Network

SECTION = "bench.gpu_share"
BIG = ("fc", "siamese-fc", "cnn", "channel-transformer", "channel-transformer, dense", "calhas",
       "patch-transformer, samples")  # fmt: skip
SIDE = 8192  # of the matrices whose product is the peak
COPY = 2**30  # bytes
# Bytes that each trained number costs a step, at least, float32: the forward and the backward
# pass read it; its gradient is written, and read by the clipping, twice, and by the optimiser;
# that reads and writes the number and its two moments.
BYTES = 4 * (2 + 1 + 3 + 2 * 3)
HALF = 0.5  # of a step: what takes as much of it bounds it
HEADER = (
    "model", "parameters", "batch", "step ms", "GFLOP", "share of the peak", "weights' traffic",
    "device busy", "bound by",
)  # fmt: skip
NOTE = """Training steps at the paper's shapes, {precision}, medians of {rounds}. The peak:
{flops:.1f} TFLOP/s in a product of two {side} x {side} matrices, {bandwidth:.2f} TB/s in a
copy. *Weights' traffic*: the share of the step that it takes to bring weights, gradients and
moments through memory at that rate, once for each use. *Bound by*: `launches`, where the device
is idle for half of the step; `products`, where they have half of the peak; `weights`, where
their traffic takes half of it; else `other kernels`: activations, norms, few maps.
"""


@dataclass(frozen=True, slots=True)
class Peak:
    """What a device does at its best.

    Attributes
    ----------
    flops : float
        Of a large matrix product, in FLOP/s.
    bandwidth : float
        Bytes read and written per second, of a large copy.
    """

    flops: float
    bandwidth: float

    @classmethod
    def measure(cls, device: torch.device, precision: str, rounds: int) -> Peak:
        """Measure it, the best of some rounds."""
        dtype = getattr(torch, precision)
        a = torch.randn(SIDE, SIDE, device=device, dtype=dtype)
        b, c = torch.randn_like(a), torch.empty_like(a)
        source = torch.zeros(COPY, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        product = _best(lambda: torch.mm(a, b, out=c), device, rounds)
        copy = _best(lambda: target.copy_(source), device, rounds)
        return cls(flops=2 * SIDE**3 / product, bandwidth=2 * COPY / copy)


def _best(job: Callable[[], object], device: torch.device, rounds: int) -> float:
    timed(job, device)
    return min(timed(job, device) for _ in range(rounds))


@dataclass(frozen=True, slots=True)
class Share:
    """A step's time, and what of it goes where, each a share of it."""

    seconds: float
    flop: int
    products: float
    weights: float
    busy: float

    @property
    def bound_by(self) -> str:
        """What the step waits for."""
        if self.busy < HALF:
            return "launches"
        if self.products >= HALF:
            return "products"
        return "weights" if self.weights >= HALF else "other kernels"


def share_of(seconds: float, flop: int, parameters: int, busy: float, peak: Peak) -> Share:
    """Return what of a step goes where.

    Parameters
    ----------
    seconds : float
        Of the step.
    flop : int
        Of its products.
    parameters : int
        Numbers that are trained.
    busy : float
        Seconds of the step in which the device had a kernel to compute.
    peak : Peak
    """
    weights = parameters * BYTES / peak.bandwidth
    return Share(
        seconds=seconds,
        flop=flop,
        products=flop / peak.flops / seconds,
        weights=weights / seconds,
        busy=busy / seconds,
    )


def flop_of(job: Callable[[], object]) -> int:
    """Return how many operations a job's products and convolutions take."""
    with FlopCounterMode(display=False) as counter:
        job()
    return int(counter.get_total_flops())


def busy_seconds(job: Callable[[], object], device: torch.device) -> float:
    """Return for how long the device computed; kernels of one stream do not overlap."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        timed(job, device)
    kernels = [event for event in seen.events() or () if event.device_type.name == "CUDA"]
    return float(sum(kernel.self_device_time_total for kernel in kernels)) / 1e6  # of us


def measure(case: Case, precision: str, rounds: int, peak: Peak) -> tuple[int, Share]:
    """Return how many numbers a model trains, and where its step goes."""
    model, device = made(case.config, case.shape), torch.device("cuda")
    assert isinstance(model, Network)
    given = {"batch": case.batch, "device": "cuda", "precision": precision}
    step = Step(model, case.shape, FitConfig.model_validate(given))
    step.seconds()
    flop = flop_of(step)
    seconds = median(step.seconds() for _ in range(rounds))
    busy = busy_seconds(step, device)
    return trainable(model), share_of(seconds, flop, trainable(model), busy, peak)


def row(name: str, batch: int, parameters: int, share: Share) -> list[object]:
    """Return a model's row of the table."""
    return [
        name,
        f"{parameters:,}",
        batch,
        f"{1e3 * share.seconds:.2f}",
        f"{share.flop / 1e9:,.1f}",
        f"{share.products:.0%}",
        f"{share.weights:.0%}",
        f"{share.busy:.0%}",
        share.bound_by,
    ]


def report(names: Sequence[str], precision: str, rounds: int) -> str:
    """Measure, and return the table and what it says, as Markdown."""
    fix_arithmetic()
    peak = Peak.measure(torch.device("cuda"), precision, rounds)
    rows = []
    for name in names:
        case = PAPER[name]
        rows.append(row(name, case.batch, *measure(case, precision, rounds, peak)))
    note = NOTE.format(
        precision=precision,
        rounds=rounds,
        flops=peak.flops / 1e12,
        side=SIDE,
        bandwidth=peak.bandwidth / 1e12,
    )
    command = f"python -m {SECTION} --rounds {rounds} --precision {precision}"
    return "\n".join((provenance(command), note, markdown_table(HEADER, rows)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("This measures a GPU, and torch finds none here")
    text = report(BIG, given.precision, given.rounds)
    print(text)  # noqa: T201
    if given.write:
        put(f"{SECTION}.{given.precision}", text)


if __name__ == "__main__":
    main()

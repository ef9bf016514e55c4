"""What a window costs with Monte-Carlo dropout, recipe by recipe, on one thread.

    python -m bench.monte_carlo [--passes N] [--rounds N] [--recipes NAME ...] [--write]

The network as it is, and its passes all at once, take turns at each window. `--write` puts
the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median

import torch

from bench.stepping import Prediction, made
from bench.tables import markdown_table, provenance, put
from bench.zoo import recipes, shape_of, window_in_words
from rtfeedback.arithmetic import fix_arithmetic
from rtfeedback.models import AnyModelConfig
from rtfeedback.models.monte_carlo import MonteCarlo

SECTION = "bench.monte_carlo"
CPU = torch.device("cpu")
NAMES = ("eegnet", "tcn", "patch-transformer", "volume-lowrank", "calhas")
HEADER = ("recipe", "window", "as it is, ms", "{} passes, ms", "times", "masks, MiB")
NOTE = """Shipped recipes on a window of 64 channels, one thread, medians of {rounds}
windows that alternate. All passes go through the network at once, from the first dropout on.
"""


def report(passes: int, rounds: int, names: Sequence[str] = NAMES) -> str:
    """Measure, and return the table and what it says, as Markdown."""
    fix_arithmetic()
    every = recipes()
    rows = [_row(name, every[name].model, passes, rounds) for name in names]
    command = f"python -m {SECTION} --passes {passes} --rounds {rounds}"
    if tuple(names) != NAMES:
        command += f" --recipes {' '.join(names)}"
    table = markdown_table([each.format(passes) for each in HEADER], rows)
    return "\n".join((provenance(command), NOTE.format(rounds=rounds), table))


def _row(name: str, config: AnyModelConfig, passes: int, rounds: int) -> list[object]:
    shape = shape_of(config)
    size = (shape.n_features, shape.n_times)
    thinned = MonteCarlo(made(config, shape), size, passes, seed=0)
    masks = sum(4 * each.numel() for key, each in thinned.named_buffers() if "mask" in key)
    models = (made(config, shape), thinned)
    contenders = [Prediction(model, shape, CPU) for model in models]
    for each in contenders:
        each.seconds()
    taken = [[each.seconds() for each in contenders] for _ in range(rounds)]
    alone, all_passes = (1e3 * median(each) for each in zip(*taken, strict=True))
    return [
        name,
        window_in_words(shape),
        f"{alone:.2f}",
        f"{all_passes:.2f}",
        f"{all_passes / alone:.1f}",
        f"{masks / 2**20:.1f}",
    ]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--recipes", nargs="+", default=NAMES, metavar="NAME")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    text = report(given.passes, given.rounds, given.recipes)
    print(text)  # noqa: T201
    if given.write:
        put(SECTION, text)


if __name__ == "__main__":
    main()

"""The command line: parse, hand over, and say an error as one paragraph.

Nothing heavy is imported before a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="rtfeedback",
    help="Neurofeedback on fMRI activity predicted from EEG. Research use only; not yet"
    " validated on real paired EEG-fMRI.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

UNWRITABLE = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO)
# What the extra `offline` brings; the last two come with it and are imported as well.
OFFLINE = "mne mne_bids pybv pyxdf nibabel nilearn sklearn matplotlib pandas threadpoolctl"

Toml = Annotated[Path | None, typer.Option("--config", help="Settings, as TOML.")]
ENDPOINT = "tcp://127.0.0.1:5556"


@app.command()
def demo(
    eeg: Annotated[
        list[Path] | None,
        typer.Option(help="Real EEG in place of a simulated one; the last is held out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for all that it makes; ./demo without.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One subject, two runs, ridge.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation and the training.")] = 0,
) -> None:
    """Do the whole job in one go, over real LSL and ZeroMQ, and report."""
    from offline.demo import run_demo

    out = out or _next_folder(Path(), "demo")
    if not run_demo(out, eeg=tuple(eeg or ()), quick=quick, seed=seed):
        raise typer.Exit(1)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="New folder for the BIDS dataset.")],
    subjects: Annotated[int, typer.Option(help="Number of subjects.")] = 3,
    runs: Annotated[int, typer.Option(help="Runs of each subject.")] = 3,
    volumes: Annotated[int, typer.Option(help="Volumes of each run.")] = 100,
    tr: Annotated[float, typer.Option(help="Seconds from volume to volume.")] = 2.0,
    snr: Annotated[float, typer.Option(help="Signal to noise of the region's course.")] = 1.2,
    coupling: Annotated[float, typer.Option(help="0: EEG says nothing beyond the task.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    channels: Annotated[int, typer.Option(help="EEG channels, 10-10 names.")] = 64,
    rate: Annotated[float, typer.Option(help="EEG samples per second.")] = 250.0,
    eeg: Annotated[
        list[Path] | None, typer.Option(help="Semi-synthetic on this real EEG.")
    ] = None,
) -> None:
    """Write a BIDS EEG-fMRI dataset whose truth is known."""
    from offline.simulate import SimulateConfig
    from offline.simulate import simulate as simulate_dataset
    from rtfeedback.config import parse_config
    from rtfeedback.errors import ConfigError

    values = {
        "subjects": subjects, "runs": runs, "volumes": volumes, "tr": tr, "snr": snr,
        "coupling": coupling, "seed": seed, "channels": channels, "rate": rate,
    }  # fmt: skip
    try:
        config = parse_config(values, SimulateConfig, source="options")
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    simulate_dataset(out, config, eeg=tuple(eeg or ()))
    _warn(bool(eeg))
    print(out)  # noqa: T201


@app.command()
def prepare(
    bids: Annotated[Path, typer.Argument(help="BIDS dataset with EEG and BOLD.")],
    out: Annotated[
        Path | None, typer.Argument(help="New folder; below ./prepared without.")
    ] = None,
    config: Toml = None,
) -> None:
    """Pass recordings through the chain, take targets out of BOLD, and write a store."""
    from offline.dataset import Store
    from offline.prepare import PrepareConfig
    from offline.prepare import prepare as prepare_dataset

    out = out or _next_folder(Path("prepared"), bids.resolve().name)
    store = Store(prepare_dataset(bids, out, _config(config, PrepareConfig)))
    _warn(store.manifest.semi_synthetic)
    print(out)  # noqa: T201


@app.command()
def train(
    data: Annotated[
        Path | None, typer.Argument(help="Store; the newest below ./prepared without.")
    ] = None,
    config: Toml = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder; below ./checkpoints without.")
    ] = None,
) -> None:
    """Fit a model and write its checkpoint."""
    from offline.dataset import Store
    from offline.train import TrainConfig
    from offline.train import train as train_model

    recipe = _config(config, TrainConfig)
    store = Store(data or _newest(Path("prepared"), "store.json", "rtfeedback prepare BIDS"))
    out = out or _next_folder(Path("checkpoints"), f"{store.path.name}-{recipe.model.name}")
    spec = train_model(store, out, recipe)
    _warn(spec.training.semi_synthetic)
    facts = ", ".join(f"{key} {value}" for key, value in spec.training.notes.items())
    print(f"{out}\n{spec.model.name}: {facts}")  # noqa: T201


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    data: Annotated[Path, typer.Argument(help="The store that it was trained on.")],
    out: Annotated[
        Path | None, typer.Option(help="New folder; below ./evaluations without.")
    ] = None,
) -> None:
    """Report skill on the held-out runs, beside baselines and chance."""
    from offline.dataset import Store
    from offline.evaluate import evaluate as evaluate_checkpoint
    from offline.evaluate import print_report
    from rtfeedback.predictor import Predictor

    out = out or _next_folder(Path("evaluations"), checkpoint.resolve().name)
    predictor = Predictor.load(checkpoint, "cpu")
    print_report(evaluate_checkpoint(predictor, Store(data), out))
    print(out)  # noqa: T201


@app.command()
def play(
    file: Annotated[Path, typer.Argument(help="Any recording that MNE reads, or XDF.")],
    stream: Annotated[str, typer.Option(help="Name of the EEG stream.")],
    markers: Annotated[str | None, typer.Option(help="Name of the marker stream.")] = None,
    speed: Annotated[float, typer.Option(help="Times faster; stamps stay 1/rate apart.")] = 1.0,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Samples pushed at a time; 40 ms without.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
) -> None:
    """Stream a recording over LSL as an amplifier would."""
    _check_positive(speed=speed)
    from offline.play import play as play_recording

    report = play_recording(
        file, stream=stream, markers=markers, speed=speed, chunk=chunk, loop=loop
    )
    print(report)  # noqa: T201


@app.command()
def run(
    stream: Annotated[str, typer.Option(help="Name of the EEG stream.")],
    model: Annotated[
        Path | None, typer.Option(help="Checkpoint; the newest below ./checkpoints without.")
    ] = None,
    markers: Annotated[
        str | None, typer.Option(help="Name of the scanner's marker stream.")
    ] = None,
    tr: Annotated[
        float | None, typer.Option(help="Count volumes of so many seconds on the stream.")
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Publish every so many seconds as well.")
    ] = None,
    config: Toml = None,
    publish: Annotated[str, typer.Option(help="Endpoint of the ZeroMQ publisher.")] = ENDPOINT,
    out: Annotated[Path, typer.Option(help="Folder of the sessions.")] = Path("sessions"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    duration: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    accept_unskilled: Annotated[
        bool, typer.Option("--accept-unskilled", help="Run without measured skill.")
    ] = False,
    accept_domain_shift: Annotated[
        bool,
        typer.Option(
            "--accept-domain-shift", help="Run in another environment than the training's."
        ),
    ] = False,
) -> None:
    """Read EEG from LSL, predict at every TR or hop, and publish feedback."""
    if markers is not None and tr is not None:
        raise typer.BadParameter("--markers and --tr exclude each other")
    _check_positive(tr=tr, hop=hop, duration=duration)
    if device not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter("--device is auto, cpu or cuda")
    from rtfeedback.online.daemon import Daemon
    from rtfeedback.online.settings import RunConfig, RunOptions
    from rtfeedback.predictor import Predictor

    settings = _config(config, RunConfig)
    model = model or _newest(Path("checkpoints"), "checkpoint.json", "rtfeedback train")
    options = RunOptions(
        stream=stream, out=out, markers=markers, tr=tr, hop=hop, endpoint=publish,
        duration=duration, accept_domain_shift=accept_domain_shift,
    )  # fmt: skip
    daemon = Daemon(Predictor.load(model, device), options, settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: daemon.stop())
    daemon.run()


@app.command()
def listen(
    endpoint: Annotated[str, typer.Argument(help="Where a run publishes.")] = ENDPOINT,
    json: Annotated[
        bool, typer.Option("--json", help="Whole messages, one JSON a line.")
    ] = False,
    count: Annotated[
        int | None, typer.Option(min=1, help="End after so many feedback messages.")
    ] = None,
) -> None:
    """Print what is published."""
    from rtfeedback.listen import listen as listen_to

    listen_to(endpoint, json=json, count=count)


def main() -> None:
    """Run the command line: exit 1 with one paragraph on what a user can mend."""
    from rtfeedback.errors import RtfeedbackError

    # A terminated command leaves through its context managers, so that nothing is left.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        app()
    except RtfeedbackError as error:
        _fail(str(error))
    except BrokenPipeError:
        os._exit(1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in OFFLINE.split():
            raise
        _fail(
            f"This command needs {package}, which is not installed."
            " Install what the desk needs: pip install 'rtfeedback[offline]'."
        )
    except OSError as error:
        if error.filename is None and error.errno not in UNWRITABLE:
            raise
        _fail(
            f"{error.filename or 'A file'} cannot be read or written."
            f" {error.strerror}. Check path and permissions, or free some space."
        )
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(paragraph: str) -> None:
    print(paragraph, file=sys.stderr)  # noqa: T201
    sys.exit(1)


def _warn(semi_synthetic: bool) -> None:
    from offline.dataset import SEMI_SYNTHETIC

    if semi_synthetic:
        print(SEMI_SYNTHETIC, file=sys.stderr)  # noqa: T201


def _check_positive(**options: float | None) -> None:
    for name, value in options.items():
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"--{name} takes a number above 0, not {value:g}")


def _config(path: Path | None, model: type[Any]) -> Any:
    from rtfeedback.config import load_config

    return load_config(path, model) if path else model()


def _newest(folder: Path, file: str, how: str) -> Path:
    from rtfeedback.errors import DatasetError

    # A name with a dot is a folder that is being written, or was when a process died.
    found = sorted(folder.glob(f"[!.]*/{file}"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise DatasetError(
            f"There is nothing below ./{folder}", do=f"Name one, or first: {how}"
        )
    print(f"taking the newest: {found[-1].parent}", file=sys.stderr)  # noqa: T201
    return found[-1].parent


def _next_folder(parent: Path, name: str) -> Path:
    taken, path = 1, parent / name
    while path.exists():
        taken += 1
        path = parent / f"{name}-{taken}"
    return path


if __name__ == "__main__":
    main()

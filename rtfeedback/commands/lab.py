"""What runs beside the subject: run, doctor, listen, replay."""

from __future__ import annotations

import gc
import signal
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from rtfeedback.commands.arguments import (
    ENDPOINT,
    Toml,
    check_positive,
    newest,
    settings_of,
)

Stream = Annotated[str, typer.Option(help="Name of the EEG stream.")]
Model = Annotated[
    Path | None, typer.Option(help="Checkpoint; the newest below ./checkpoints without.")
]
Markers = Annotated[str | None, typer.Option(help="Name of the scanner's marker stream.")]
Source = Annotated[
    str | None,
    typer.Option(help="fieldtrip://HOST:PORT or a recording, as fast as it goes; not LSL."),
]
TR = Annotated[
    float | None, typer.Option(help="Count volumes of so many seconds on the stream.")
]
Hop = Annotated[float | None, typer.Option(help="Publish every so many seconds as well.")]
Publish = Annotated[str, typer.Option(help="Endpoint of the ZeroMQ publisher.")]
Sessions = Annotated[Path, typer.Option(help="Folder of the sessions.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DomainShift = Annotated[
    bool,
    typer.Option(
        "--accept-domain-shift", help="Run in another environment than the training's."
    ),
]


def run(
    stream: Stream = "",
    model: Model = None,
    markers: Markers = None,
    source: Source = None,
    tr: TR = None,
    hop: Hop = None,
    config: Toml = None,
    publish: Publish = ENDPOINT,
    out: Sessions = Path("sessions"),
    device: Device = "auto",
    duration: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    accept_unskilled: Annotated[
        bool, typer.Option("--accept-unskilled", help="Run without measured skill.")
    ] = False,
    accept_domain_shift: DomainShift = False,
) -> None:
    """Read EEG from LSL, predict at every TR or hop, and publish feedback."""
    if not (stream or source):
        raise typer.BadParameter("--stream names the EEG stream, or --source what is read")
    _check_run(markers, tr, device)
    check_positive(tr=tr, hop=hop, duration=duration)
    began = monotonic()
    from rtfeedback.online.daemon import Daemon, Startup
    from rtfeedback.online.settings import RunConfig, RunOptions
    from rtfeedback.predictor import Predictor

    startup = Startup(imports=monotonic() - began, since=monotonic())
    settings = settings_of(config, RunConfig)
    model = model or newest(Path("checkpoints"), "checkpoint.json", "rtfeedback train")
    options = RunOptions(
        stream=stream, out=out, markers=markers, tr=tr, hop=hop, endpoint=publish,
        duration=duration, accept_domain_shift=accept_domain_shift, source=source,
    )  # fmt: skip
    other = _other_source(source, stream, markers) if source else None
    daemon = Daemon(Predictor.load(model, device), options, settings, other, startup)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: daemon.stop())
    gc.collect()
    gc.freeze()  # what is there by now stays, and need not be looked through while it runs
    daemon.run()


def doctor(
    stream: Stream = "",
    model: Model = None,
    markers: Markers = None,
    source: Source = None,
    tr: TR = None,
    hop: Hop = None,
    config: Toml = None,
    publish: Publish = ENDPOINT,
    out: Sessions = Path("sessions"),
    device: Device = "auto",
    duration: Annotated[
        float | None,
        typer.Option(max=300, help="Listen for so many seconds; 5 without, or 6 TRs."),
    ] = None,
    accept_domain_shift: DomainShift = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON a line.")] = False,
) -> None:
    """Check all that a run needs, and say what to do; exit 1 if one would be refused."""
    _check_run(markers, tr, device)
    check_positive(tr=tr, hop=hop, duration=duration)
    from rtfeedback.doctor.examination import Examination
    from rtfeedback.doctor.report import print_report
    from rtfeedback.errors import DatasetError
    from rtfeedback.online.settings import RunConfig, RunOptions
    from rtfeedback.predictor import Predictor

    settings = settings_of(config, RunConfig)
    try:
        model = model or newest(Path("checkpoints"), "checkpoint.json", "rtfeedback train")
    except DatasetError:
        model = None  # one of the findings
    options = RunOptions(
        stream=stream, out=out, markers=markers, tr=tr, hop=hop, endpoint=publish,
        accept_domain_shift=accept_domain_shift,
    )  # fmt: skip
    examination = Examination(
        options, settings, seconds=duration,
        load=partial(Predictor.load, model, device) if model else None,
        source=partial(_other_source, source, stream, markers) if source else None,
    )  # fmt: skip
    if print_report(examination, json=json) == "fail":
        raise typer.Exit(1)


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


def replay(
    session: Annotated[Path, typer.Argument(help="The folder of one run.")],
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda; without it the run's own.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="By which a z may differ; 0, or 1e-3 on another machine."),
    ] = None,
) -> None:
    """Compute every value that a run published again; exit 1 if one is another."""
    if device is not None:
        _check_device(device)
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise typer.BadParameter(f"--tolerance takes a number from 0 on, not {tolerance:g}")
    from rtfeedback.replay.report import replay_session

    if not replay_session(session, device, tolerance):
        raise typer.Exit(1)


def _check_run(markers: str | None, tr: float | None, device: str) -> None:
    if markers is not None and tr is not None:
        raise typer.BadParameter("--markers and --tr exclude each other")
    _check_device(device)


def _check_device(device: str) -> None:
    if device not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter("--device is auto, cpu or cuda")


def _other_source(text: str, stream: str, markers: str | None) -> Any:
    from rtfeedback.online.address import is_address, make_source

    if is_address(text):
        return make_source(text, stream=stream, markers=markers)
    from offline.recording_stream import recording_source

    return recording_source(Path(text))

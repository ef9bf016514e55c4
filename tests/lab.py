"""What the daemon's tests share: a tiny model, a recording, and a run that is listened to."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self

import jsonschema
import numpy as np
import torch
import zmq

from offline.eeg.features import through_chain
from offline.eeg.recordings import Recording
from offline.store.dataset import window_at
from rtfeedback.chain import Chain, ChainConfig, ChainSpec
from rtfeedback.chain.spec import BandPowerConfig
from rtfeedback.checkpoint import CheckpointSpec, Target, Training, save_checkpoint
from rtfeedback.client import FeedbackClient
from rtfeedback.models import RidgeConfig
from rtfeedback.online.daemon import Daemon
from rtfeedback.online.lsl import EEGOutlet, MarkerOutlet, clock
from rtfeedback.online.settings import RunConfig, RunOptions
from rtfeedback.predictor import Predictor
from rtfeedback.signals import Float32, Marker, StreamInfo
from rtfeedback.windows import WindowSpec, due_of_marker, reached

ROOT = Path(__file__).resolve().parents[1]
WAIT = 20.0  # s that anything may take before a test fails
RATE = 250.0
TR = 1.0  # s
CHANNELS = ("Fp1", "C3", "Cz", "C4", "Pz")
STALE = {"stale": 0.2}  # s, so that a test need not wait for half a second
TOPICS = ("feedback", "status", "event", "volume")
SCHEMA = json.loads((ROOT / "docs" / "feedback.schema.json").read_text(encoding="utf-8"))
validator = jsonschema.Draft202012Validator(SCHEMA)

Message = dict[str, Any]


def checkpoint_spec(**changes: Any) -> CheckpointSpec:
    """Return a ridge on two bands of five channels over two seconds, with two ROIs."""
    power = BandPowerConfig(rate=4, length=0.5, bands=((8, 14), (14, 30)))
    spec = CheckpointSpec(
        model=RidgeConfig(length=2.0),
        chain=ChainSpec(
            config=ChainConfig(band=(5, 40), band_power=power), channels=CHANNELS, sfreq=RATE
        ),
        window=WindowSpec(length=2.0),
        targets=(
            Target(name="motor", unit="percent signal change", mean=0.1, sd=0.7),
            Target(name="visual", unit="percent signal change", mean=-0.2, sd=1.3),
        ),
        tr=TR,
        environment="scanner",
        training=Training(
            store="", subjects=("01",), train=("a",), validation=(), test=(), seed=0
        ),
    )
    return spec.model_copy(update=changes)


def save_model(folder: Path, spec: CheckpointSpec) -> Predictor:
    """Save weights out of a seed as a checkpoint, and load it."""
    torch.manual_seed(7)
    model = spec.build()
    for buffer, value in zip(model.buffers(), (-11.0, 0.5), strict=True):  # log10 V**2
        buffer.fill_(value)
    save_checkpoint(folder, spec, model)
    return Predictor.load(folder, "cpu")


def stream_info(
    channels: Sequence[str] = CHANNELS, *, rate: float = RATE, kinds: Sequence[str] = ()
) -> StreamInfo:
    kinds = kinds or ["eog" if "EOG" in name else "eeg" for name in channels]
    return StreamInfo("rec", rate, tuple(channels), tuple(kinds), ("microvolts",) * len(kinds))


def make_recording(seconds: float, *, first: float = 0.4, seed: int = 3) -> Recording:
    """Return noise, with a marker each TR from `first` seconds on."""
    n_times = round(seconds * RATE)
    samples = np.random.default_rng(seed).normal(0, 20, (n_times, len(CHANNELS)))
    onsets = np.arange(first, seconds, TR).tolist()
    markers = tuple(Marker(onset, "R128") for onset in onsets)
    return Recording(stream_info(), samples.astype(np.float32), markers)


def settled(predictor: Predictor, seconds: float = 0.0) -> float:
    """Return the seconds from a segment's first sample until windows are whole."""
    chain = Chain(predictor.spec.chain, stream_info())
    return chain.warm_up / RATE + predictor.spec.window.length + 1.0 + seconds


def noise(seconds: float, seed: int = 5) -> Float32:
    n_times = round(seconds * RATE)
    samples = np.random.default_rng(seed).normal(0, 20, (n_times, len(CHANNELS)))
    return samples.astype(np.float32)


def desk_values(
    predictor: Predictor, recording: Recording, onsets: Sequence[float]
) -> dict[int, dict[str, Any]]:
    """Return what the desk predicts for each volume that has a whole window there."""
    spec, (_, n_times) = predictor.spec, predictor.shape
    rate = spec.chain.rate
    features, stamps = through_chain(recording, spec.chain)
    dues = [
        due_of_marker(spec.window, volume, onset, tr=TR, rate=rate)
        for volume, onset in enumerate(onsets)
    ]
    ends, nearest = reached(stamps, np.array([due.end for due in dues]), rate)
    values: dict[int, dict[str, Any]] = {}
    for due, end, there in zip(dues, ends.tolist(), nearest, strict=True):
        if there and end + 1 >= n_times and due.volume is not None:
            found = predictor(window_at(features, end, n_times))
            values[due.volume] = {
                name: {"raw": roi.raw, "z": roi.z, "sd": roi.sd} for name, roi in found.items()
            }
    return values


class Start(Protocol):
    """Starts a lab, which ends with the test."""

    def __call__(self, **how: Any) -> Lab: ...


class Lab:
    """A daemon in a thread, the client that hears it, and the outlets that feed it.

    Every feedback message that arrives is held against docs/feedback.schema.json.
    """

    def __init__(
        self,
        out: Path,
        predictor: Any,
        port: int,
        *,
        markers: bool = False,
        stream: dict[str, Any] | None = None,
        volume: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.name = f"EEG-{uuid.uuid4().hex[:8]}"
        self.messages: list[Message] = []
        self.error: BaseException | None = None
        self.outlets: list[EEGOutlet | MarkerOutlet] = []
        run = RunOptions(
            stream=self.name,
            out=out,
            markers=self.name + "-markers" if markers else None,
            endpoint=f"tcp://127.0.0.1:{port}",
            **options,
        )
        config = RunConfig.model_validate({"stream": stream or {}, "volume": volume or {}})
        self.daemon = Daemon(predictor, run, config)
        self.folder = self.daemon.folder.path
        self.client = FeedbackClient(run.endpoint, TOPICS)
        self._control = f"tcp://127.0.0.1:{port + 1}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        with ExitStack() as undo:
            undo.callback(self.__exit__)
            self.until(lambda: self.of("status"))
            undo.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self.daemon.stop()
        self._thread.join(WAIT)
        self.client.close()
        for outlet in self.outlets:
            outlet.close()

    def _run(self) -> None:
        try:
            self.daemon.run()
        except BaseException as error:
            self.error = error

    # --- feeding -------------------------------------------------------------------

    def outlet(self, info: StreamInfo | None = None) -> EEGOutlet:
        """Put the EEG stream up, without waiting for anyone to receive it."""
        outlet = EEGOutlet(info or stream_info(), self.name)
        self.outlets.append(outlet)
        return outlet

    def marker_outlet(self) -> MarkerOutlet:
        outlet = MarkerOutlet(self.name + "-markers")
        self.outlets.append(outlet)
        return outlet

    def connect(self, info: StreamInfo | None = None) -> EEGOutlet:
        """Put the EEG stream up, and wait until the daemon receives it."""
        outlet = self.outlet(info)
        self.until(lambda: outlet.consumed)
        return outlet

    def feed(
        self, outlet: EEGOutlet, samples: Float32, start: float, *, chunk: int = 25
    ) -> float:
        """Send samples as fast as they go; return the stamp of the next one."""
        stamps = start + np.arange(len(samples)) / RATE
        for first in range(0, len(samples), chunk):
            outlet.push(samples[first : first + chunk], stamps[first : first + chunk])
            self.listen(0)
        return start + len(samples) / RATE

    def play(
        self, recording: Recording, outlet: EEGOutlet, markers: MarkerOutlet | None = None
    ) -> float:
        """Send a recording, each marker before the chunk with its sample; return its start."""
        start = clock()
        todo = list(recording.markers) if markers else []
        for first in range(0, len(recording.samples), 25):
            while todo and todo[0].stamp < (first + 25) / RATE:
                assert markers is not None
                marker = todo.pop(0)
                markers.push(marker.label, start + marker.stamp)
            block = recording.samples[first : first + 25]
            self.feed(outlet, block, start + first / RATE)
        return start

    # --- listening -----------------------------------------------------------------

    def listen(self, seconds: float = 0.02) -> None:
        """Take what the client has received, waiting so long for the first of it."""
        while (message := self.client.receive(seconds)) is not None:
            seconds = 0
            self.messages.append(message)
            if message["topic"] == "feedback":
                validator.validate(bare(message))

    def until(self, done: Callable[[], object]) -> None:
        """Listen until something is so."""
        deadline = time.monotonic() + WAIT
        while not done():
            assert time.monotonic() < deadline, self.messages[-3:]
            self.listen()

    def of(self, topic: str, **fields: Any) -> list[Message]:
        """Return what was received on a topic with these fields."""
        return [
            message
            for message in self.messages
            if message["topic"] == topic
            and all(message.get(key) == value for key, value in fields.items())
        ]

    def received(self, n_samples: int) -> None:
        """Wait until the daemon has taken so many samples."""
        self.until(lambda: self.ask("status")["status"]["samples_received"] >= n_samples)

    def ask(self, command: str, **fields: Any) -> Message:
        """Ask the daemon, and return its answer."""
        return json.loads(self.ask_raw(json.dumps({"cmd": command, **fields}).encode()))  # type: ignore[no-any-return]

    def ask_raw(self, *frames: bytes) -> bytes:
        with zmq.Context() as context, context.socket(zmq.REQ) as asker:
            asker.setsockopt(zmq.LINGER, 0)
            asker.connect(self._control)
            asker.send_multipart(frames)
            assert asker.poll(int(WAIT * 1000)), "no answer"
            return asker.recv()

    # --- the end -------------------------------------------------------------------

    def stop(self) -> None:
        """End the run, and take all that it still published."""
        self.daemon.stop()
        self.join()

    def join(self) -> None:
        self._thread.join(WAIT)
        assert not self._thread.is_alive()
        if not self.of("status", state="stopped"):
            self.until(lambda: self.of("status", state="stopped"))

    def recorded(self) -> list[Message]:
        """Return what messages.jsonl holds."""
        lines = (self.folder / "messages.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def values(self) -> dict[int, dict[str, Any]]:
        """Return the ROIs of every valid volume."""
        valid = self.of("feedback", valid=True)
        return {m["volume"]: m["rois"] for m in valid if m["volume"] is not None}


def bare(message: Message) -> Message:
    """Return a message as it was sent, without what the client adds."""
    return {k: v for k, v in message.items() if k not in ("topic", "receive_time")}

"""Minutes of EEG out of a source, taken and judged as a run would."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from offline.eeg.recordings import MICROVOLTS, Recording
from offline.progress import console
from rtfeedback.chain import Chain
from rtfeedback.chain.front import Front
from rtfeedback.channels import scale_to_volts
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.errors import RecordingError, RtfeedbackError
from rtfeedback.online.plausibility import Doubt, Plausibility
from rtfeedback.online.source import Source, Stream, StreamLost
from rtfeedback.online.timeline import Piece, Timeline
from rtfeedback.signals import Chunk, Float32, Int64, StreamInfo

WAIT = 10.0  # s that a stream is waited for
SILENCE = 5.0  # s without a sample after which one that was heard counts as gone
PULL = 0.2  # s that a pull may wait
SHORTEST = 10.0  # s of a segment that is worth its filters' warm-up
DOUBTED = 0.1  # of the time: where a run would have believed less, nothing is fitted

Now = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Heard:
    """EEG that a run would have believed.

    Attributes
    ----------
    name : str
        Of the stream, or file.
    segments : tuple of Recording
        Without gaps, of the channels that the chain uses.
    seconds : float
        Of all of them.
    sha256 : str
        Of their samples in microvolts.
    """

    name: str
    segments: tuple[Recording, ...]
    seconds: float
    sha256: str


def hear(
    source: Source, spec: CheckpointSpec, seconds: float, now: Now = time.monotonic
) -> Heard:
    """Listen to a source for so many seconds of EEG, or to its end.

    Parameters
    ----------
    source : Source
    spec : CheckpointSpec
        What the EEG is for: its chain says which channels at which rate, and its training
        what EEG looks like.
    seconds : float
        May be infinite, for a source that ends.
    now : callable
        The monotonic clock, in seconds.

    Raises
    ------
    StreamError
        There is no such stream.
    ChannelError
        It is not what the chain needs.
    RecordingError
        Nothing came, or what came is nothing that a run would have believed.
    """
    stream = source.open_stream(timeout=WAIT, idle=lambda: None)
    try:
        hearing = _Hearing(stream.info, spec)
        _listen(stream, hearing, seconds, now)
    finally:
        stream.close()
    return hearing.heard()


def _listen(stream: Stream, hearing: _Hearing, seconds: float, now: Now) -> None:
    """Take what comes until there is enough of it, or no more."""
    last = now()
    with console.status("Listening") as status:
        while hearing.seconds < seconds:
            try:
                chunk = stream.pull(PULL)
            except StreamLost:
                return
            if chunk is not None:
                last = now()
                hearing.take(chunk)
                status.update(f"Listening: {hearing.seconds:.0f} s of EEG")
            elif now() - last > SILENCE:
                return


class _Hearing:
    """What was heard so far, in segments, and what a run would have doubted of it."""

    def __init__(self, info: StreamInfo, spec: CheckpointSpec) -> None:
        self._info, self._sfreq = info, info.sfreq
        self._plausibility = Plausibility(spec, spec.tr)
        self._chain = Chain(spec.chain, info, tap=self._plausibility.tap)
        self._columns: Int64 = np.unique(Front(spec.chain, info).columns)
        self._timeline = Timeline(info.sfreq)
        self._segments: list[list[Float32]] = []
        self._doubts: Counter[Doubt] = Counter()
        self._n = 0

    @property
    def seconds(self) -> float:
        return self._n / self._sfreq

    def take(self, chunk: Chunk) -> None:
        for piece in self._timeline.push(chunk, self._chain.usable(chunk)):
            self._take(piece)

    def _take(self, piece: Piece) -> None:
        if piece.begins:
            self._chain.reset()
            self._plausibility.begin()
            self._segments.append([])
        self._segments[-1].append(piece.samples.take(self._columns, axis=1))
        self._n += len(piece.stamps)
        self._chain.push(piece.samples)
        self._plausibility.hear(self._chain.recorded(piece.samples))
        self._plausibility.look(piece.stamps, self._timeline)
        if doubt := self._plausibility.doubt:
            self._doubts[doubt] += len(piece.stamps)

    def heard(self) -> Heard:
        """Return what was heard; refuse what a run would not have believed."""
        if sum(self._doubts.values()) > DOUBTED * self._n:
            doubt = self._doubts.most_common(1)[0][0]
            raise RecordingError(
                f"'{self._info.name}' is nothing to calibrate by",
                found=doubt.found,
                do=doubt.do,
            )
        whole = [np.concatenate(each) for each in self._segments]
        long = [each for each in whole if len(each) >= SHORTEST * self._sfreq]
        if not long:
            raise too_little(self._info.name, self.seconds)
        segments = tuple(self._recording(each) for each in long)
        digest = hashlib.sha256()
        for each in segments:
            digest.update(each.samples.tobytes())
        seconds = sum(map(len, long)) / self._sfreq
        return Heard(self._info.name, segments, seconds, digest.hexdigest())

    def _recording(self, samples: Float32) -> Recording:
        info = self._info
        # float32 microvolts as they came stay as they are, to the bit.
        scales = np.array([scale_to_volts(info.units[i]) / 1e-6 for i in self._columns])
        own = StreamInfo(
            name=info.name,
            sfreq=info.sfreq,
            channels=tuple(info.channels[i] for i in self._columns),
            kinds=tuple(info.kinds[i] for i in self._columns),
            units=(MICROVOLTS,) * len(self._columns),
            reference=info.reference,
        )
        return Recording(own, np.ascontiguousarray(samples * scales, np.float32), ())


def too_little(name: str, seconds: float, what: str = "EEG without a gap") -> RtfeedbackError:
    """Return what says that there is not enough to fit anything on."""
    return RecordingError(
        f"There is too little EEG in '{name}' to calibrate by",
        found=f"{seconds:.0f} s of {what}",
        do="Record two to five minutes, of the task and posture that the run will have",
    )

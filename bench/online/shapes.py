"""What is streamed, and what is asked of it: the jobs that contenders are measured at."""

from __future__ import annotations

from dataclasses import dataclass

MEAN_POWER = "mean-power"
FEWEST = 4  # values that are measured at least


@dataclass(frozen=True, slots=True)
class Shape:
    """One job.

    Attributes
    ----------
    name : str
    n_channels : int
    rate : float
        Of the stream, in hertz.
    chunk : int
        Samples that the sender pushes at a time.
    window, hop : float
        Seconds of EEG that a value is made of, and from one value to the next.
    model : str
        What makes it, as `bench.checkpoint` names it.
    """

    name: str
    n_channels: int
    rate: float
    chunk: int
    window: float
    hop: float
    model: str = MEAN_POWER

    @property
    def title(self) -> str:
        """Say what it is, in one line."""
        return (
            f"**{self.name}**: {self.n_channels} channels, {self.rate:g} Hz,"
            f" chunk {self.chunk}, window {self.window:g} s, hop {self.hop:g} s, {self.model}"
        )

    @property
    def trivial(self) -> bool:
        """Whether the floor and the rivals compute the same function."""
        return self.model == MEAN_POWER

    def seconds(self, asked: float) -> float:
        """Return how long to measure: as asked, and at least four values."""
        return max(asked, FEWEST * self.hop)

    @property
    def block(self) -> int:
        """Samples that a prompt consumer leaves to compute when a hop falls due."""
        return round(min(self.hop, 0.1) * self.rate)


# Tokens come at 4 Hz, so what is made of them hops by 0.25 s, or once a TR.
_ALL = (
    Shape("tr", 34, 1000.0, 8, 20.0, 2.0),
    Shape("fast", 64, 1000.0, 10, 20.0, 0.1),
    Shape("single", 64, 1000.0, 1, 20.0, 0.1),
    Shape("heavy", 128, 5000.0, 25, 30.0, 0.1),
    Shape("ridge", 64, 1000.0, 10, 10.0, 0.25, "ridge"),
    Shape("tcn", 64, 1000.0, 10, 20.0, 0.25, "tcn"),
    Shape("eegnet", 64, 1000.0, 10, 15.0, 0.25, "eegnet"),
    Shape("tr-ridge", 34, 1000.0, 8, 20.0, 2.0, "ridge"),
    Shape("tr-tcn", 34, 1000.0, 8, 20.0, 2.0, "tcn"),
    Shape("tr-eegnet", 34, 1000.0, 8, 20.0, 2.0, "eegnet"),
    Shape("heavy-ridge", 128, 5000.0, 25, 30.0, 0.25, "ridge"),
    Shape("heavy-tcn", 128, 5000.0, 25, 30.0, 0.25, "tcn"),
    Shape("heavy-eegnet", 128, 5000.0, 25, 30.0, 0.1, "eegnet"),
)
SHAPES = {shape.name: shape for shape in _ALL}

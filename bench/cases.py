"""The bad days of the fault matrix: what a lab meets, and what has to be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ALWAYS = frozenset({"ok", "warming_up", "tr", "tr_unknown"})
"""What any day may say."""


@dataclass(frozen=True, slots=True)
class Case:
    """A bad day.

    Attributes
    ----------
    name : str
        What it is in the lab.
    faults : tuple of str
        As `rtfeedback play --fault` takes them.
    says : str
        Reasons and events that have to be on the wire, between blanks.
    may : str
        Reasons and events that may be there as well. Any other, but for `ALWAYS`, is one
        too many.
    least : int
        So many values have to be valid; the good day has 24, as
        its first two volumes' TR is not known yet.
    refused : str
        What the refusal at the start has to say; empty where the run has to begin.
    bound : str
        What a valid value may be off by. `exact`: nothing but rounding. `spread`: what the
        same EEG gives when the chain begins with another sample, allowed where what is
        lost is below the daemon's declared threshold. `artefact`: half an sd, allowed where
        an artefact is in the EEG, of which what is masked is left out of the value.
    renumbers : bool
        Whether volumes may be numbered off: where nobody can know how many there were.
    trs : int
        The scanner's TR, in those that the checkpoint expects.
    """

    name: str
    faults: tuple[str, ...]
    says: str = ""
    may: str = ""
    least: int = 0
    refused: str = ""
    bound: Literal["exact", "spread", "artefact"] = "exact"
    renumbers: bool = False
    trs: int = 1

    @property
    def due(self) -> frozenset[str]:
        """What has to be said."""
        return frozenset(self.says.split())

    @property
    def allowed(self) -> frozenset[str]:
        """What may be said."""
        return ALWAYS | self.due | frozenset(self.may.split())


_RESTART = "lost reconnect gap"
_UNEVEN = "gap late rate implausible plausible"  # where stamps scatter so that none is sure

# fmt: off
CASES = (
    Case("a good day", (), least=24),
    # What is lost, held back or stamped wrongly.
    Case("100 ms lost", ("drop:at=25,n=25",), "gap", least=19),
    Case("2 s lost", ("drop:at=25,n=500",), "gap", "stale", least=18),
    Case("12 ms lost", ("drop:at=25,n=3",), least=24, bound="spread"),
    Case("1.6 % lost in dribs", ("drop:at=20,every=0.5,n=2",), "rate implausible",
         least=4, bound="spread"),
    Case("frozen for 6 s, lost", ("freeze:at=25,duration=6",), "stale gap", least=16),
    Case("frozen for 6 s, sent later", ("freeze:at=25,duration=6,then=held",), "stale",
         "late", least=21),
    Case("bursts of 0.4 s", ("bursts:interval=0.4",), least=24),
    Case("bursts of 2 s", ("bursts:interval=2",), "", "stale", least=22),
    Case("stamps jitter by 2 ms", ("jitter:sd=0.002",), least=24),
    Case("stamps jitter by 8 ms", ("jitter:sd=0.008",), "", _UNEVEN),
    Case("chunks jitter by 4 ms", ("jitter:sd=0.004,per=chunk",), least=24),
    Case("chunks jitter by 8 ms", ("jitter:sd=0.008,per=chunk",), "", _UNEVEN),
    Case("chunks jitter by 15 ms", ("jitter:sd=0.015,per=chunk",), "", _UNEVEN),
    Case("chunks jitter by 30 ms", ("jitter:sd=0.03,per=chunk",), "", _UNEVEN),
    Case("clock fast by 50 ppm", ("drift:ppm=50",), least=24),
    Case("clock slow by 500 ppm", ("drift:ppm=-500",), least=24),
    Case("clock set ahead by 5 s", ("clock:at=25,by=5",), "gap",
         "inserted stray missing doubled late_marker", least=18, renumbers=True),
    Case("clock set back by 5 s", ("clock:at=25,by=-5",), "gap",
         "inserted stray missing doubled late_marker", least=18, renumbers=True),
    Case("real rate 0.05 % off", ("rate:factor=1.0005",), least=24),
    Case("real rate 1 % off", ("rate:factor=1.01",), "rate implausible"),
    Case("stated rate twice the real", ("rate:factor=2,what=stated",), refused="500 Hz"),
    # Outlets that come back, or offer something else.
    Case("restart, same source id", ("restart:at=25",), _RESTART, "stale", least=13),
    Case("restart, new source id", ("restart:at=25,source=new",), _RESTART, "stale",
         least=13),
    Case("restart of both outlets", ("restart:at=25,outlet=both,source=new",), _RESTART,
         "stale inserted missing no_volume late_marker scanner_stopped scanner_resumed",
         least=11),
    Case("restart of the markers", ("restart:at=25,outlet=markers",), "lost reconnect",
         "inserted missing no_volume late_marker scanner_stopped scanner_resumed",
         least=20),
    Case("channels in another order", ("permute",), least=24),
    Case("restart, channels in another order", ("restart:at=25", "permute:since=restart"),
         _RESTART, "stale", least=13),
    Case("a channel missing", ("missing:channel=C3",), refused="no channel C3"),
    Case("restart without a channel", ("restart:at=25", "missing:channel=C3,since=restart"),
         "lost refused", "stale", least=6),
    Case(
        "restart without a channel, then with it",
        (
            "restart:at=15,pause=1",
            "restart:at=32,pause=1",
            "missing:channel=C3,since=restart,until=restart",
        ),
        "lost refused reconnect gap", "stale", least=6,
    ),
    Case("volts, stated", ("unit:to=volts,stated=yes",), least=24),
    Case("volts, not stated", ("unit:to=volts",), "units implausible", "artefact"),
    Case("restart in volts, not stated", ("restart:at=20", "unit:to=volts,since=restart"),
         f"{_RESTART} units implausible", "stale artefact", least=3),
    Case("microvolts stated as mV", ("unit:to=mV,stated=yes,factor=1",),
         "units implausible", "artefact"),
    Case("ten times too large", ("unit:factor=10",), "", "artefact units implausible"),
    Case("ten times too small", ("unit:factor=0.1",), "units implausible", "artefact"),
    # What is no EEG.
    Case("a channel is NaN for 1 s", ("nan:at=25,channel=C3",), "gap", "stale", least=19),
    Case("all are NaN for 6 s", ("nan:at=25,duration=6,channel=all",), "stale gap",
         least=16),
    Case("a channel flat for 4 s", ("flat:at=25,duration=4,channel=C3",), "", "artefact",
         least=19, bound="artefact"),
    Case("a channel flat for 20 s", ("flat:at=25,duration=20,channel=C3",), "",
         "artefact", least=8, bound="artefact"),
    Case("the amplifier sends one value", ("flat:at=25,duration=15,channel=all",),
         "artefact", "implausible plausible units", least=10, bound="artefact"),
    Case("it sends its last 0.25 s again", ("repeat:at=25,length=0.25,duration=15",),
         "artefact", "implausible plausible units rate", least=10, bound="artefact"),
    Case("a blink every 5 s", ("blink:at=12,every=5",), "", "artefact", least=18,
         bound="artefact"),
    Case("an electrode pops", ("pop:at=25,channel=C3",), "", "artefact", least=20,
         bound="artefact"),
    Case("it pops every 2 s", ("pop:at=20,every=2,channel=C3",), "", "artefact", least=6,
         bound="artefact"),
    Case("the head moves", ("movement:at=25",), "artefact", "", least=19,
         bound="artefact"),
    Case("muscles tense", ("muscle:at=25,duration=2",), "artefact", "", least=19,
         bound="artefact"),
    # The scanner's markers.
    Case("a marker missing", ("marker-missing:at=25",), "inserted", least=23),
    Case("three markers missing", ("marker-missing:at=25,n=3",),
         "inserted scanner_stopped scanner_resumed", "no_volume", least=21),
    Case("the first two markers missing", ("marker-missing:at=0,n=2",), "", "no_volume",
         least=21, renumbers=True),
    Case("the scanner starts 10 s later", ("marker-missing:at=0,n=5",), "", "no_volume",
         least=18, renumbers=True),
    Case("it starts later, its TR is twice", ("marker-missing:at=0,n=5", "marker-thin"),
         "tr", "no_volume inserted missing scanner_stopped scanner_resumed stray",
         least=6, renumbers=True, trs=2),
    Case("a marker doubled", ("marker-doubled:at=25",), "doubled", least=23),
    Case("a marker late by 0.5 s", ("marker-late:at=25,delay=0.5",), "",
         "inserted late_marker", least=23),
    Case("markers late by 6 s", ("marker-late:at=25,delay=6,n=3",),
         "inserted late_marker",
         "no_volume late scanner_stopped scanner_resumed missing stray doubled",
         least=18),
    Case("a marker from far ahead", ("marker-astray:at=25,by=100",), "stray", "",
         least=23),
    Case("a marker per slice", ("marker-slices:n=20",), "", "doubled", least=22),
    Case("the scanner stops", ("scanner-stop:at=25",),
         "no_volume inserted scanner_stopped", least=8),
    Case("the scanner stops and goes on", ("scanner-stop:at=25,duration=11",),
         "no_volume inserted scanner_stopped scanner_resumed", least=18),
    Case(
        "everything at once",
        (
            "jitter:sd=0.002", "drift:ppm=50", "bursts:interval=0.2",
            "drop:at=22,n=50", "blink:at=11,every=4", "marker-missing:at=35",
            "restart:at=40,source=new", "permute:since=restart",
        ),
        _RESTART, "inserted stale artefact", least=6, bound="artefact",
    ),
)
# fmt: on

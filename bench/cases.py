"""The bad days of the fault matrix: what a lab meets, and what has to be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Case:
    """A bad day.

    Attributes
    ----------
    name : str
        What it is in the lab.
    faults : tuple of str
        As `rtfeedback play --fault` takes them.
    says : tuple of str
        Reasons and events that have to be on the wire; `refused at the start` as well.
    bound : str
        What a valid value may be off by. `exact`: nothing but rounding. `spread`: what the
        same EEG gives when the chain begins with another sample, allowed where what is
        lost is below the daemon's declared threshold. `artefact`: half an sd, allowed where
        an artefact is in the EEG, of which what is masked is left out of the value.
    renumbers : bool
        Whether volumes may be numbered off: where nobody can know how many there were.
    """

    name: str
    faults: tuple[str, ...]
    says: tuple[str, ...] = ()
    bound: Literal["exact", "spread", "artefact"] = "exact"
    renumbers: bool = False


AT_THE_START = "refused at the start"

# fmt: off
CASES = (
    Case("a good day", ()),
    # What is lost, held back or stamped wrongly.
    Case("100 ms lost", ("drop:at=25,n=25",), ("gap",)),
    Case("2 s lost", ("drop:at=25,n=500",), ("gap",)),
    Case("12 ms lost", ("drop:at=25,n=3",), (), "spread"),
    Case("1.6 % lost in dribs", ("drop:at=20,every=0.5,n=2",), ("rate",), "spread"),
    Case("frozen for 6 s, lost", ("freeze:at=25,duration=6",), ("stale", "gap")),
    Case("frozen for 6 s, sent later", ("freeze:at=25,duration=6,then=held",), ("stale",)),
    Case("bursts of 0.4 s", ("bursts:interval=0.4",)),
    Case("bursts of 2 s", ("bursts:interval=2",)),
    Case("stamps jitter by 2 ms", ("jitter:sd=0.002",)),
    Case("chunks jitter by 4 ms", ("jitter:sd=0.004,per=chunk",)),
    Case("clock fast by 50 ppm", ("drift:ppm=50",)),
    Case("clock slow by 500 ppm", ("drift:ppm=-500",)),
    Case("clock set ahead by 5 s", ("clock:at=25,by=5",), ("gap",), renumbers=True),
    Case("clock set back by 5 s", ("clock:at=25,by=-5",), ("gap",), renumbers=True),
    Case("real rate 0.05 % off", ("rate:factor=1.0005",)),
    Case("real rate 1 % off", ("rate:factor=1.01",), ("rate",)),
    Case("stated rate twice the real", ("rate:factor=2,what=stated",), (AT_THE_START,)),
    # Outlets that come back, or offer something else.
    Case("restart, same source id", ("restart:at=25",), ("lost", "reconnect", "gap")),
    Case(
        "restart, new source id",
        ("restart:at=25,source=new",),
        ("lost", "reconnect", "gap"),
    ),
    Case(
        "restart of both outlets",
        ("restart:at=25,outlet=both,source=new",),
        ("lost", "reconnect", "gap"),
    ),
    Case("restart of the markers", ("restart:at=25,outlet=markers",), ("lost", "reconnect")),
    Case("channels in another order", ("permute",)),
    Case(
        "restart, channels in another order",
        ("restart:at=25", "permute:since=restart"),
        ("lost", "reconnect", "gap"),
    ),
    Case("a channel missing", ("missing:channel=C3",), (AT_THE_START,)),
    Case(
        "restart without a channel",
        ("restart:at=25", "missing:channel=C3,since=restart"),
        ("lost", "refused"),
    ),
    Case(
        "restart without a channel, then with it",
        (
            "restart:at=15,pause=1",
            "restart:at=32,pause=1",
            "missing:channel=C3,since=restart,until=restart",
        ),
        ("lost", "refused", "reconnect", "gap"),
    ),
    Case("volts, stated", ("unit:to=volts,stated=yes",)),
    Case("volts, not stated", ("unit:to=volts",), ("units",)),
    Case(
        "restart in volts, not stated",
        ("restart:at=20", "unit:to=volts,since=restart"),
        ("lost", "reconnect", "units"),
    ),
    Case("microvolts stated as mV", ("unit:to=mV,stated=yes,factor=1",), ("units",)),
    Case("ten times too large", ("unit:factor=10",)),
    Case("ten times too small", ("unit:factor=0.1",)),
    # What is no EEG.
    Case("a channel is NaN for 1 s", ("nan:at=25,channel=C3",), ("gap",)),
    Case("all are NaN for 6 s", ("nan:at=25,duration=6,channel=all",), ("stale", "gap")),
    Case(
        "a channel flat for 4 s",
        ("flat:at=25,duration=4,channel=C3",),
        (),
        "artefact",
    ),
    Case(
        "a channel flat for 20 s",
        ("flat:at=25,duration=20,channel=C3",),
        (),
        "artefact",
    ),
    Case("a blink every 5 s", ("blink:at=12,every=5",), (), "artefact"),
    Case("an electrode pops", ("pop:at=25,channel=C3",), (), "artefact"),
    Case("it pops every 2 s", ("pop:at=20,every=2,channel=C3",), (), "artefact"),
    Case("the head moves", ("movement:at=25",), (), "artefact"),
    Case("muscles tense", ("muscle:at=25,duration=2",), (), "artefact"),
    # The scanner's markers.
    Case("a marker missing", ("marker-missing:at=25",)),
    Case("three markers missing", ("marker-missing:at=25,n=3",)),
    Case("the first two markers missing", ("marker-missing:at=0,n=2",), renumbers=True),
    Case("a marker doubled", ("marker-doubled:at=25",)),
    Case("a marker late by 0.5 s", ("marker-late:at=25,delay=0.5",)),
    Case("markers late by 6 s", ("marker-late:at=25,delay=6,n=3",)),
    Case("a marker per slice", ("marker-slices:n=20",)),
    Case("the scanner stops", ("scanner-stop:at=25",), ("no_volume", "scanner_stopped")),
    Case(
        "the scanner stops and goes on",
        ("scanner-stop:at=25,duration=11",),
        ("no_volume", "scanner_stopped"),
    ),
    Case(
        "everything at once",
        (
            "jitter:sd=0.002", "drift:ppm=50", "bursts:interval=0.2",
            "drop:at=22,n=50", "blink:at=11,every=4", "marker-missing:at=35",
            "restart:at=40,source=new", "permute:since=restart",
        ),
        ("gap", "lost", "reconnect"),
        "artefact",
    ),
)
# fmt: on

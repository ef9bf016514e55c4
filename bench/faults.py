"""The fault matrix: each bad day played to a daemon, and what it said held against the truth.

    python -m bench.faults [NAME ...] [--quick] [--out docs/faults.md] [--speed 4]

Exit 1 where a valid value is false, a run breaks down or falls silent, something is not
said that has to be, or is that should not, or fewer values are valid than have to be. NAMEs are
parts of the days' names or of their faults; with them, or --quick, the page stays as it is.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isinf
from pathlib import Path

from bench.bad_day import Day, Verdict, is_true, judge, live_through
from bench.cases import CASES, Case
from bench.study import Study
from offline.faults import Plan, fault_table, harm, parse_fault
from offline.rehearsal import two_free_ports
from rtfeedback.online.lsl import isolate
from tests.lab import Lab

SECONDS = 60.0  # of the recording
STALE = 0.2  # s without EEG: at speed 4, 0.8 s of the recording
EXACT = 1e-3  # z: rounding
ARTEFACT = 0.5  # z: half an sd of the region, less than the model errs by on clean EEG
PERIODS = 2  # TRs of EEG for which nothing may be told
AT_THE_START = "refused at the start"
LONG = 12  # runs of reasons beyond which only their totals are shown
QUICK = ("a good day", "100 ms lost", "restart, new source id", "a channel missing")
PAGE = Path(__file__).parents[1] / "docs" / "faults.md"


@dataclass(frozen=True, slots=True)
class Cell:
    """A day and what came of it."""

    case: Case
    day: Day
    verdict: Verdict
    bound: float
    tr: float

    @property
    def unsaid(self) -> tuple[str, ...]:
        """What had to be said, and was not."""
        if self.case.refused and self.case.refused not in self.day.refusal:
            return (f"{AT_THE_START}: {self.case.refused}",)
        return tuple(sorted(self.case.due - self.day.said))

    @property
    def uncalled(self) -> tuple[str, ...]:
        """What was said, and should not have been."""
        if self.day.refusal and not self.case.refused:
            return (AT_THE_START,)
        return tuple(sorted(self.day.said - self.case.allowed))

    @property
    def silent(self) -> bool:
        """Whether nothing was told for two TRs of EEG."""
        return self.verdict.silent > PERIODS * self.case.trs * self.tr

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with what the day said."""
        return not self.wrong

    @property
    def wrong(self) -> tuple[str, ...]:
        """All that is wrong with what the day said, in words."""
        count, silent = len(self.verdict.judged), self.verdict.silent
        found = {
            f"CRASHED: {self.day.crash}": self.day.crash,
            f"FALSE ({self.bound:.3f})": not is_true(self.verdict, self.bound),
            "misnumbered": self.misnumbered,
            f"not said: {', '.join(self.unsaid)}": self.unsaid,
            f"said: {', '.join(self.uncalled)}": self.uncalled,
            f"{count} valid of {self.case.least} at least": count < self.case.least,
            f"silent for {silent:.1f} s": self.silent,
        }
        return tuple(text for text, is_so in found.items() if is_so)

    @property
    def misnumbered(self) -> bool:
        """Whether a valid value says that it is another volume's."""
        return bool(self.verdict.renumbered) and not self.case.renumbers

    def row(self) -> str:
        """Return the day as a row of the table."""
        error = self.verdict.largest
        counted, lost = self.verdict.counted, self.verdict.lost
        cells = (
            f"{self.case.name}<br>`{' '.join(self.case.faults) or 'no fault'}`",
            self._wire(),
            self._invalid(),
            "-" if counted is None else f"{counted} / {lost}",
            f"{len(self.verdict.judged)}",
            "-" if error is None else f"{error:.3f}",
            " ".join(f"**{_cell(text)}**" for text in self.wrong) or f"{self.bound:.3f}",
        )
        return f"| {' | '.join(cells)} |"

    def _wire(self) -> str:
        if self.day.refusal:
            return f"{AT_THE_START}: {_cell(self.day.refusal.split('. ')[0])}"
        events = ", ".join(f"{name} {n}" for name, n in self.day.events.items())
        off = self.verdict.renumbered
        renumbered = f"<br>volumes are numbered {off:+d}" if off else ""
        return f"{self._reasons()}<br>events: {events or 'none'}{renumbered}"

    def _reasons(self) -> str:
        runs = self.day.reasons
        if len(runs) <= LONG:
            return ", ".join(f"{reason} {n}" for reason, n in runs)
        totals = Counter(message["reason"] for message in self.day.feedback)
        by_turns = ", ".join(f"{reason} {n}" for reason, n in totals.items())
        return f"by turns: {by_turns}"

    def _invalid(self) -> str:
        if self.day.refusal:
            return "no run"
        stretches = [
            f"from {a:.0f} s on" if isinf(b) else f"{b - a:.0f} s, valid again at {b:.0f} s"
            for a, b in self.verdict.invalid
        ]
        return "<br>".join(stretches) or "never"


def _cell(text: str) -> str:
    """Return text as a cell of a table may hold it: in a line, without its bars."""
    return " ".join(text.split()).replace("|", "/")


def main() -> int:
    """Run the matrix."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("names", nargs="*", help="only days whose name or faults hold this")
    parser.add_argument("--quick", action="store_true", help="only a few days")
    parser.add_argument("--speed", type=float, default=4.0, help="times real time")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--study", type=Path, help="folder to keep the small study in")
    asked = parser.parse_args()
    isolate(f"bench-{os.getpid()}")
    cases = _chosen(asked.names, quick=asked.quick)
    with tempfile.TemporaryDirectory() as scratch:
        study = Study.make(asked.study or Path(scratch), SECONDS)
        cells = run_matrix(study, cases, asked.speed, Path(scratch))
    failed = [cell for cell in cells if not cell.passed]
    _say(f"{len(cells) - len(failed)} of {len(cells)} days passed")
    if len(cases) == len(CASES):
        asked.out.write_text(page(cells, study, asked.speed), encoding="utf-8")
        _say(str(asked.out))
    return 1 if failed else 0


def run_matrix(study: Study, cases: Sequence[Case], speed: float, folder: Path) -> list[Cell]:
    """Live through each day, the good one first, and say what came of it."""
    good: list[float] = []
    bounds = {"exact": EXACT, "spread": study.spread(), "artefact": ARTEFACT}
    cells = []
    for i, case in enumerate(cases):
        day = _live(study, case, speed, folder / f"day-{i}")
        verdict = judge(day, study.truth, good)
        good = good or [each.seconds for each in verdict.judged]
        cells.append(Cell(case, day, verdict, bounds[case.bound], study.predictor.spec.tr))
        _say(cells[-1].row())
    return cells


def _live(study: Study, case: Case, speed: float, folder: Path) -> Day:
    plan = harm(Plan.of(study.recording), [parse_fault(fault) for fault in case.faults])
    with redirect_stderr(io.StringIO()):
        lab = Lab(
            folder, study.predictor, two_free_ports(), markers=True, stream={"stale": STALE}
        )
        with lab:
            return live_through(lab, plan, speed=speed)


def page(cells: Sequence[Cell], study: Study, speed: float) -> str:
    """Return the page: the faults that there are, and the matrix."""
    rows = "\n".join(cell.row() for cell in cells)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return _PAGE.format(
        table=fault_table(),
        rows=rows,
        date=datetime.now(UTC).date(),
        machine=f"{machine}, Python {platform.python_version()}",
        seconds=SECONDS,
        speed=speed,
        stale=STALE,
        rate=study.recording.info.sfreq,
        channels=len(study.recording.info.channels),
        exact=EXACT,
        spread=study.spread(),
        artefact=ARTEFACT,
        periods=PERIODS,
        days=len(cells),
        passed=sum(cell.passed for cell in cells),
        values=sum(len(cell.verdict.judged) for cell in cells),
    )


def _chosen(names: Sequence[str], *, quick: bool) -> list[Case]:
    """Return the good day, and those that are asked for."""
    if quick:
        return [case for case in CASES if case.name in QUICK]
    return [
        case
        for i, case in enumerate(CASES)
        if i == 0 or not names or any(n in f"{case.name} {case.faults}" for n in names)
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


_PAGE = """\
# Faults

What can go wrong with a stream, how to make it go wrong, and what a run then says. This page
is written by `python -m bench.faults`.

## Making a bad day

`rtfeedback play FILE --stream NAME [--markers NAME] --fault NAME[:KEY=VALUE,...] [--seed N]`
plays a recording with faults. `--fault` may be repeated: faults are done in their order,
restarts first. The same seed harms the same recording in the same way. `play` prints what it
does with the time in the recording and the stamp at which it does it, to be held against a
run's log. At `--speed X` the times of the recording go by X times faster.

{table}

For example, an amplifier that is restarted with other channels:
`rtfeedback play rec.vhdr --stream EEG --fault restart:at=60 --fault permute:since=restart`

## The fault matrix

{date}, `python -m bench.faults`, {machine}. {days} days, {passed} passed, {values} valid
values held against the truth.

Each day, {seconds:g} s of a simulated run ({channels} channels, {rate:g} Hz, TR 2 s, the
first volume at 8 s) are played over LSL at speed {speed:g} to a daemon with a ridge on band
power that was fitted on two other runs (6 s of EEG, 4 s ahead); a client on ZeroMQ receives.
EEG is stale after {stale:g} s, so that a silence shows at that speed as it would at speed 1.

- *The wire*: the reasons of the feedback messages in their order, each with how many in a
  row (in all, where they change too often to be listed); and the events, each with how many.
- *Invalid*: for how much of the recording there was no valid value though the good day has
  one, and when there was one again.
- *Lost*: samples that the run counts as lost, and those that truly never came as numbers. A
  clock that is set ahead looks like a loss, and is counted as one.
- *Valid*, *error*: how many values were published as valid, and the largest |z - truth| among
  them. The truth is what the desk predicts for the same time from the unharmed recording, its
  chain begun with the sample with which the run began its segment.
- *Bound*: what the error may be. {exact:g}: nothing but rounding. {spread:.3f}: by so much the
  unharmed EEG's own predictions differ when the chain begins with another sample; allowed
  where less is lost at a time than 20 ms, which cannot be told from jitter. {artefact:g}: half
  an sd of the region, less than the model errs by on clean EEG; allowed where an artefact is
  in the EEG, whose masked part is left out of the value.

A day passes where no valid value is false or another volume's, what has to be said is said and
nothing that does not belong there, as many values are valid as have to be, and something was
told for every {periods} TRs of EEG that came. Only what the daemon declines in its own words
before it begins is a refusal; any other end of a run is a crash, and fails. `bench/cases.py`
states all that of each day.

| day | what the wire said | invalid | lost: counted / truly | valid | error | bound |
|---|---|---|---|---|---|---|
{rows}
"""


if __name__ == "__main__":
    sys.exit(main())

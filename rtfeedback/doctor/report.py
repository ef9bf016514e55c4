"""Findings as lines for a person, or as JSON for a program."""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from rtfeedback.doctor.finding import Finding, Verdict

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_INDENT = 20  # columns before what was found


def print_report(findings: Iterable[Finding], *, json: bool = False) -> Verdict:
    """Print each finding as it is made, and last what follows from all of them.

    Parameters
    ----------
    findings : iterable of Finding
    json : bool
        One JSON object a line; the last holds the verdict alone.

    Returns
    -------
    verdict : str
        The worst of all.
    """
    console = Console(highlight=False, soft_wrap=True)
    made = []
    for finding in findings:
        made.append(finding)
        _print(console, jsonlib.dumps(asdict(finding)) if json else line(finding))
    verdict = worst(made)
    last = jsonlib.dumps({"verdict": verdict}) if json else Text(conclusion(made))
    if isinstance(last, Text):
        last.stylize(STYLES[verdict])
    _print(console, last)
    return verdict


def line(finding: Finding) -> Text:
    """Return a finding as one line: verdict, subject, what was found, what to do."""
    text = Text()
    text.append(f"{finding.verdict:<5}", STYLES[finding.verdict])
    text.append(f"{finding.subject:<{_INDENT - 5}}")
    text.append(_sentence(finding.found))
    if finding.do:
        text.append(" " + _sentence(finding.do), "bold")
    return text


def worst(findings: Sequence[Finding]) -> Verdict:
    """Return the worst verdict; `ok` where there is none."""
    counts = Counter(finding.verdict for finding in findings)
    return "fail" if counts["fail"] else "warn" if counts["warn"] else "ok"


def conclusion(findings: Sequence[Finding]) -> str:
    """Return what the findings mean for a run."""
    verdict = worst(findings)
    if verdict == "ok":
        return "ok: a run would start"
    subjects = dict.fromkeys(f.subject for f in findings if f.verdict == verdict)
    if verdict == "warn":
        return f"warn: nothing here would refuse a run, but look at {', '.join(subjects)}"
    return (
        "fail: a run would be refused, or give no valid value, because of"
        f" {', '.join(subjects)}"
    )


def _print(console: Console, text: Text | str) -> None:
    # A name out of a stream is text, never markup.
    console.print(text if isinstance(text, Text) else Text(text))


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else text + "."

"""What the tests of the pre-flight share: limits that noise keeps to, and picking findings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from offline.eeg.fit_artefacts import fit_artefacts
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.doctor.finding import Finding
from tests.lab import checkpoint_spec, make_recording


@cache
def spec_with_limits() -> CheckpointSpec:
    """Return a spec whose artefact limits were fitted on a minute of the same noise."""
    spec = checkpoint_spec()
    chain = fit_artefacts(spec.chain, {"a": lambda: make_recording(60)})
    return spec.model_copy(update={"chain": chain})


def found(findings: Sequence[Finding], subject: str, verdict: str) -> Finding:
    """Return the one finding of a subject that has a verdict."""
    [one] = [f for f in findings if (f.subject, f.verdict) == (subject, verdict)]
    return one


def subjects(findings: Sequence[Finding], verdict: str) -> set[str]:
    """Return what has a verdict."""
    return {f.subject for f in findings if f.verdict == verdict}

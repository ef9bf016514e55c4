"""Whether a model is as sure as it should be: how often the truth lies in what it states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtri

from offline.evaluation.report import DPI, GREY, MEASURED, PREDICTED, save_figure
from rtfeedback.signals import Float64

LEVELS = (0.5, 0.6827, 0.8, 0.9, 0.95)  # of central intervals; 0.6827 is one sd to either side
AS_STATED, MENDED = "as stated", "sd times the factor"


def coverage(error: Float64, sd: Float64) -> Float64:
    """Return how often errors lie within a Gaussian's central intervals, by level.

    Parameters
    ----------
    error, sd : float64, shape (n,)
        Measured less predicted, and the stated sd, both in z.

    Returns
    -------
    float64, shape (n_levels,)
        Of `LEVELS`; of a model that is as sure as it should be, these themselves.

    References
    ----------
    Kuleshov, Fenner & Ermon 2018, arXiv:1807.00263.
    """
    widths = ndtri(0.5 + 0.5 * np.array(LEVELS))
    return np.asarray(np.mean(np.abs(error)[:, None] <= widths * sd[:, None], axis=0))


def mending_factor(error: Float64, sd: Float64) -> float:
    """Return what every stated sd is to be multiplied by, for the likeliest Gaussian.

    References
    ----------
    Levi et al. 2019, arXiv:1905.11659.
    """
    return float(np.sqrt(np.mean((error / sd) ** 2)))


def uncertainty_report(
    test: tuple[Float64, Float64], validation: tuple[Float64, Float64] | None
) -> dict[str, Any]:
    """Return the coverage of the stated sd on held-out runs, and with it mended.

    Parameters
    ----------
    test, validation : tuple of float64, shape (n,)
        Errors and stated sds. The factor is fitted on the validation part alone, which
        had a say in when the training stopped: it may be a little small. There is none
        where an sd is 0, which no factor mends.
    """
    error, sd = test
    factor = mending_factor(*validation) if validation and validation[1].all() else None
    return {
        "levels": list(LEVELS),
        "coverage": coverage(error, sd).tolist(),
        "factor": factor,
        "coverage_mended": coverage(error, factor * sd).tolist() if factor else None,
        "n": len(error),
        "n_validation": len(validation[0]) if validation else 0,
    }


def uncertainty_line(report: dict[str, Any]) -> str:
    """Return the report in a sentence."""
    at = report["levels"].index(0.9)
    said = f"The stated sd's 90 % intervals hold {report['coverage'][at]:.0%}"
    if report["factor"] is None:
        if report["n_validation"]:
            return f"{said}; an sd of 0 in the validation part is mended by no factor."
        return f"{said}; there is no validation part to mend it by."
    mended = report["coverage_mended"][at]
    return f"{said}; times {report['factor']:.2f}, by the validation part, {mended:.0%}."


def coverage_figure(path: Path, report: dict[str, Any], title: str) -> None:
    """Draw nominal against found coverage and save it as PNG.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    figure = Figure(figsize=(4.6, 4.6), dpi=DPI, facecolor="white", layout="constrained")
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color=GREY, lw=0.8)
    panel.plot(report["levels"], report["coverage"], "o-", color=PREDICTED, label=AS_STATED)
    if report["coverage_mended"]:
        mended = report["coverage_mended"]
        panel.plot(report["levels"], mended, "s--", color=MEASURED, label=MENDED)
    panel.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    panel.set_xlabel("nominal share of a central interval", fontsize=9)
    panel.set_ylabel("share of held-out volumes in it", fontsize=9)
    panel.set_title(title, fontsize=9.5, fontweight="bold", loc="left")
    panel.legend(fontsize=9, frameon=False, loc="upper left")
    panel.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)

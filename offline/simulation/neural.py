"""What the simulated brain does: log power of the EEG's sources, and the drive of BOLD.

It knows nothing of electrodes or voxels. Everything is slow (0.1 s grid), in nats of
power. BOLD follows minus the log power, the sign found for mu, beta and alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nilearn.glm.first_level import spm_hrf
from scipy.ndimage import gaussian_filter1d

from offline.simulation.scan import Scan
from rtfeedback.signals import Float64

STEP = 0.1  # s
HISTORY = 40.0  # s before the first EEG sample: what the HRF (32 s long) still shows
REGIONS = ("left_hand", "right_hand", "occipital")

DESIGN_SHARE = 0.35  # of the noise-free motor course's variance
# The law allows half, but counts the time derivative too, which fits by chance, and a
# region that holds a little more of one hand than of the other.
DESIGN_SHARE_MAX = 0.45
DESYNCHRONISATION = 0.7  # nats: imagery halves the power of mu
SMOOTHING = (2.0, 3.0, 5.5)  # s, Gaussian sd: correlation times of some 5 to 15 s
MAX_SD = 1.2  # nats: power beyond a factor of ten either way is no brain's
LATERAL_SD = 0.2  # nats by which either hand leaves the mean of both
OCCIPITAL_SD = 0.5  # nats
RAMP = 0.5  # s, Gaussian sd of the onset of a block's effect


@dataclass(frozen=True, slots=True)
class NeuralCourses:
    """Courses of the three `REGIONS`.

    Attributes
    ----------
    times : float64, shape (n,)
        Seconds from EEG sample 0; they begin `HISTORY` earlier.
    log_power : float64, shape (3, n)
        Log power of the EEG's sources, in nats about rest.
    drive : float64, shape (3, n)
        What the haemodynamic response answers, in nats.
    """

    times: Float64
    log_power: Float64
    drive: Float64


def slow_times(scan: Scan) -> Float64:
    """Return the grid that neural courses live on, in seconds from EEG sample 0."""
    return np.arange(-HISTORY, scan.n_times / scan.rate + STEP, STEP)


def haemodynamic(courses: Float64, delay: float = 0.0) -> Float64:
    """Convolve courses (..., n) on the slow grid with SPM's response, `delay` s late."""
    response = spm_hrf(STEP, oversampling=1, onset=delay)
    full = np.apply_along_axis(np.convolve, -1, courses, response)
    return np.asarray(full[..., : courses.shape[-1]])


def bold_at_volumes(courses: Float64, times: Float64, scan: Scan, delay: float) -> Float64:
    """Return the response to courses (k, n) at each volume's target time, (k, n_volumes)."""
    response = haemodynamic(courses, delay)
    return np.array([np.interp(scan.target_times(), times, row) for row in response])


def simulate_neural(
    rng: np.random.Generator, scan: Scan, *, coupling: float, delay: float, depth: float
) -> NeuralCourses:
    """Draw one run's courses.

    Parameters
    ----------
    rng : numpy.random.Generator
    scan : Scan
        Gives the design, and the volumes at which its share is counted.
    coupling : float
        Share of the variance of BOLD's beyond-task course that the EEG has too.
    delay : float
        Seconds by which this subject's haemodynamic response is late.
    depth : float
        This subject's desynchronisation, as a factor.
    """
    times = slow_times(scan)
    task = depth * DESYNCHRONISATION * _smooth(scan.imagery_at(times), RAMP)
    beyond, drive = _draw_motor(rng, task, times, scan, coupling, delay)
    lateral, occipital = _draw_pair(rng, times.size), _draw_pair(rng, times.size)
    side = LATERAL_SD * _couple(*lateral, coupling)
    back = OCCIPITAL_SD * _couple(*occipital, coupling)
    shown = task + beyond
    seen = LATERAL_SD * lateral[0]
    return NeuralCourses(
        times,
        log_power=-np.array([shown + seen, shown - seen, OCCIPITAL_SD * occipital[0]]),
        drive=np.array([drive + side, drive - side, back]),
    )


def design_share(course: Float64, scan: Scan) -> float:
    """Return the share of a course's variance that the design explains.

    Parameters
    ----------
    course : float64, shape (n_volumes,)
    scan : Scan
        Its blocks of imagery go through the response, and its time derivative, which
        lets a response come early or late.
    """
    times = slow_times(scan)
    response = haemodynamic(scan.imagery_at(times))
    regressors = [response, np.gradient(response, STEP)]
    sampled = [np.interp(scan.target_times(), times, row) for row in regressors]
    design = np.column_stack([np.ones(course.size), *sampled])
    rest = course - design @ np.linalg.lstsq(design, course, rcond=None)[0]
    return float(1 - rest.var() / course.var())


def _draw_motor(
    rng: np.random.Generator,
    task: Float64,
    times: Float64,
    scan: Scan,
    coupling: float,
    delay: float,
) -> tuple[Float64, Float64]:
    """Draw what the EEG shows beyond the task, and the whole drive of BOLD.

    Drawn again in the rare run, a short one as a rule, that is by chance so like the task
    that little is left beside it.
    """
    while True:
        pair = [
            _beside_the_task(_fluctuation(rng, times.size), task, times, scan, delay)
            for _ in range(2)
        ]
        # The mix is normalised once more: two draws correlate by chance.
        mix = _couple(pair[0], pair[1], coupling)
        drive = task + _beside_the_task(mix, task, times, scan, delay)
        bold = bold_at_volumes(drive[None], times, scan, delay)[0]
        strongest = max(np.std(pair[0]), np.std(drive))
        if strongest <= MAX_SD and design_share(bold, scan) <= DESIGN_SHARE_MAX:
            return pair[0], drive


def _couple(shared: Float64, own: Float64, coupling: float) -> Float64:
    return np.asarray(np.sqrt(coupling) * shared + np.sqrt(1 - coupling) * own)


def _draw_pair(rng: np.random.Generator, n: int) -> tuple[Float64, Float64]:
    return _fluctuation(rng, n), _fluctuation(rng, n)


def _fluctuation(rng: np.random.Generator, n: int) -> Float64:
    """Draw a slow course of unit sd, a mixture of correlation times."""
    parts = [_unit(_smooth(rng.standard_normal(n), sd)) for sd in SMOOTHING]
    return _unit(np.sum(parts, axis=0))


def _smooth(course: Float64, sd: float) -> Float64:
    return np.asarray(gaussian_filter1d(course, sd / STEP, mode="nearest"))


def _unit(course: Float64) -> Float64:
    centred = course - course.mean()
    return np.asarray(centred / centred.std())


def _beside_the_task(
    course: Float64, task: Float64, times: Float64, scan: Scan, delay: float
) -> Float64:
    """Make a course whose BOLD is orthogonal to the task's and has the share it is due.

    The response is linear, so what is taken from BOLD is taken from the course: the
    design's share is then exact in every run, not only on average.
    """
    bold, design = bold_at_volumes(np.array([course, task]), times, scan, delay)
    design = design - design.mean()
    slope = design @ bold / (design @ design)
    bold = bold - bold.mean() - slope * design
    sd = design.std() * np.sqrt((1 - DESIGN_SHARE) / DESIGN_SHARE)
    return np.asarray((course - slope * task) * (sd / bold.std()))

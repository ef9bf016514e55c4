"""What a run or two with BOLD can do for a model: methods, and the choice among them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from torch import nn

from offline.calibration.closed_form import Notes, fit_readout, gain, ridge
from offline.calibration.readout import predict, readout
from offline.store.aims import Aims
from offline.store.dataset import Run, Store
from offline.store.examples import Examples
from offline.training.fit_config import FitConfig
from offline.training.fit_network import fit_network
from offline.training.fitting import Supervised
from offline.training.inner_folds import inner_folds
from offline.training.outcomes import RegionOutcomes
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.models import EEGNet, Network, Ridge
from rtfeedback.models.volume import VolumeNetwork
from rtfeedback.signals import Bool, Float64, Int64

Method = Literal["scaler", "gain", "head", "fine-tune"]
Fit = Callable[[nn.Module, Examples], Notes]

EPOCHS, PATIENCE = 12, 3
LEARNING_RATE = 2e-4  # a tenth of a training's: what the parent knows is to be kept


class FewShot:
    """Fits a copy of the parent by each method that goes with it, and keeps the best.

    Parameters
    ----------
    store : Store
    spec : CheckpointSpec
        The child's: its targets' statistics make z.
    aims : Aims
    seed : int
        Of fine-tuning.
    """

    def __init__(self, store: Store, spec: CheckpointSpec, aims: Aims, seed: int) -> None:
        self._store, self._spec, self._aims, self._seed = store, spec, aims, seed

    def choose(
        self, parent: nn.Module, training: Examples, validation: Examples | None
    ) -> tuple[nn.Module, Method, Notes]:
        """Return a fitted copy of the parent, how it was fitted, and each method's error.

        Methods are judged on the validation part. Where there is none it is by a run of
        the training part, or a block with a gap on either side, and the best of them is
        then fitted again on all of the training part.

        Raises
        ------
        DatasetError
            If there is too little to hold anything back.
        ConfigError
            If fine-tuning diverges.
        """
        fit_on, judge_on = training, validation
        if judge_on is None:
            held, kept = list(inner_folds(training))[-1]
            fit_on, judge_on = (self._subset(training, each) for each in (kept, held))
        found = {
            method: self._fitted(fit, parent, fit_on)
            for method, fit in self._methods(parent).items()
        }
        errors = {method: self._error(model, judge_on) for method, (model, _) in found.items()}
        best = min(errors, key=lambda method: errors[method])  # of equals, the least change
        model, notes = found[best]
        if validation is None:
            model, notes = self._fitted(self._methods(parent)[best], parent, training)
        told: Notes = {f"mse_{method}": error for method, error in errors.items()}
        return model, best, {**told, **notes, "judged_on": len(judge_on)}

    def _methods(self, parent: nn.Module) -> dict[Method, Fit]:
        """Return the methods that go with a model, those that change least first."""
        methods: dict[Method, Fit] = {"scaler": lambda model, train: {}}
        if readout(parent) is not None:
            methods["gain"] = partial(self._fit_readout, solve=gain)
            methods["head"] = partial(self._fit_readout, solve=ridge)
        if isinstance(parent, Network):
            methods["fine-tune"] = self._fine_tune
        return methods

    def _fitted(self, fit: Fit, parent: nn.Module, train: Examples) -> tuple[nn.Module, Notes]:
        model = copy.deepcopy(parent)
        assert isinstance(model, (Network, Ridge))
        model.scaler.fit(*train.statistics())
        notes = fit(model, train)
        return model.eval(), notes

    def _fit_readout(self, model: nn.Module, train: Examples, solve: object) -> Notes:
        return fit_readout(model, solve, train, self._z(train))  # type: ignore[arg-type]

    def _fine_tune(self, model: nn.Module, train: Examples) -> Notes:
        assert isinstance(model, Network)
        held, kept = list(inner_folds(train))[-1]
        fit_on, stop_on = (self._supervised(self._subset(train, each)) for each in (kept, held))
        config = FitConfig(
            epochs=EPOCHS,
            patience=PATIENCE,
            batch=min(16, max(2, len(fit_on.examples))),
            learning_rate=LEARNING_RATE,
            loss="nll" if model.gaussian else "mse",
        )
        chain = self._spec.chain
        notes = fit_network(
            model,
            config,
            fit_on,
            stop_on,
            seed=self._seed,
            waveforms=chain.config.band_power is None,
            n_bands=chain.n_bands,
        )
        return {"epochs": notes["epochs"], "learning_rate": LEARNING_RATE}

    def _supervised(self, examples: Examples) -> Supervised:
        return Supervised(examples, RegionOutcomes(self._z(examples)))

    def _z(self, examples: Examples) -> Float64:
        return examples.z(self._spec.targets)

    def _error(self, model: nn.Module, judge_on: Examples) -> float:
        return float(np.mean((predict(model, judge_on) - self._z(judge_on)) ** 2))

    def _subset(self, every: Examples, which: Bool) -> Examples:
        """Return some of the windows, which are then all that may be read."""
        kept: dict[str, Int64] = {
            run.name: every.volumes[which & (every.run == i)]
            for i, run in enumerate(every.runs)
        }

        def holds(run: Run, volumes: Int64, times: Float64) -> Bool:
            return np.isin(volumes, kept[run.name])

        names = [name for name, volumes in kept.items() if len(volumes)]
        window = self._spec.window
        return Examples(self._store, names, every.chain, window, holds, self._aims)


def can_learn(model: nn.Module) -> bool:
    """Tell whether a model's targets are regions' values, which is what is fitted here."""
    of_classes = isinstance(model, EEGNet) and model.classes is not None
    known = isinstance(model, (Network, Ridge))
    return known and not of_classes and not isinstance(model, VolumeNetwork)

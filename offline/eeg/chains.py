"""The chains that go for every run of a dataset: their channels, and what is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from offline.eeg.fit_artefacts import Runs, fit_artefacts
from offline.progress import console
from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.config import parse_config
from rtfeedback.errors import DatasetError
from rtfeedback.signals import StreamInfo


def common_chains(
    recipes: Mapping[str, ChainConfig], channels: tuple[str, ...], infos: Sequence[StreamInfo]
) -> dict[str, ChainSpec]:
    """Return unfitted chains that go for every run.

    Parameters
    ----------
    recipes : mapping of str to ChainConfig
    channels : tuple of str
        The model's; all that every run has, but for what a chain takes as EOG, where
        there is none.
    infos : sequence of StreamInfo
        Of the runs.

    Raises
    ------
    DatasetError
        If the runs differ in rate or have no channel in common.
    ConfigError
        If a recipe does not go with the channels or the rate.
    """
    if len({info.sfreq for info in infos}) > 1:
        raise DatasetError(
            "The EEG of the runs differs in rate",
            found="; ".join(f"{info.name}: {info.sfreq:g} Hz" for info in infos),
            do="Prepare runs of one rate together",
        )
    eog = {name for recipe in recipes.values() for name in recipe.eog}
    values = {
        "channels": channels or _common_channels(infos, eog),
        "sfreq": infos[0].sfreq,
        "recorded_reference": infos[0].reference,
    }
    return {
        name: parse_config({"config": recipe, **values}, ChainSpec, source=f"chain '{name}'")
        for name, recipe in recipes.items()
    }


def takes_fitting(recipes: Mapping[str, ChainConfig]) -> bool:
    """Return whether a recipe asks for anything that is fitted on runs."""
    return any(recipe.artefacts or recipe.eog for recipe in recipes.values())


def fit_chains(specs: Mapping[str, ChainSpec], runs: Runs) -> dict[str, ChainSpec]:
    """Return the chains with what their recipes ask to be fitted on some runs.

    Chains that differ only in what comes out of them are fitted once.
    """
    found: dict[str, ChainSpec] = {}
    fitted: dict[str, ChainSpec] = {}
    for name, spec in specs.items():
        alike = {"max_rate": 0.0, "band_power": None}
        key = spec.config.model_copy(update=alike).model_dump_json()
        if key not in fitted:
            fitted[key] = fit_artefacts(spec, runs)
        numbers = {"eog": fitted[key].eog, "artefacts": fitted[key].artefacts}
        found[name] = spec.model_copy(update=numbers)
    return found


def _common_channels(infos: Sequence[StreamInfo], eog: set[str]) -> tuple[str, ...]:
    """Return the EEG channels that every run has, in the order of the first."""
    found = [
        [
            name
            for name, kind in zip(info.channels, info.kinds, strict=True)
            if kind == "eeg" and name not in eog
        ]
        for info in infos
    ]
    common = tuple(name for name in found[0] if all(name in each for each in found))
    if not common:
        raise DatasetError(
            "The runs have no EEG channel in common",
            found="; ".join(
                f"{info.name}: {', '.join(each)}"
                for info, each in zip(infos, found, strict=True)
            ),
            do="Give a channel one name in all runs, or prepare the runs apart",
        )
    left_out = sorted({name for each in found for name in each}.difference(common))
    if left_out:
        text = f"left out, as not every run has them: {', '.join(left_out)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return common

"""What the tests of replay share: a model that masks artefacts, and runs that are over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offline.rehearsal import two_free_ports
from rtfeedback.chain import ChainSpec
from rtfeedback.chain.limits import ArtefactConfig, ArtefactLimits
from rtfeedback.checkpoint import CheckpointSpec
from rtfeedback.online.daemon import Daemon
from rtfeedback.online.settings import RunConfig, RunOptions
from rtfeedback.predictor import Predictor
from rtfeedback.replay.archive import Archive
from tests.lab import CHANNELS, checkpoint_spec, save_model
from tests.replay.troubled import Troubled, clean, marked

RunIt = Callable[..., Archive]


def masking_spec() -> CheckpointSpec:
    """Return a model whose chain masks what is four times as large as the tests' noise."""
    spec, n = checkpoint_spec(), len(CHANNELS)
    limits = ArtefactLimits(
        amplitude=(50e-6,) * n, step=(1.0,) * n, muscle=(1.0,) * n, flat=(0.0,) * n, field=2.0,
        typical=(1e-5,) * n, fitted_on=("a",),
    )  # fmt: skip
    config = spec.chain.config.model_copy(update={"artefacts": ArtefactConfig()})
    chain = spec.chain.model_copy(update={"config": config, "artefacts": limits})
    return spec.model_copy(update={"chain": ChainSpec(**dict(chain))})


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return save_model(tmp_path_factory.mktemp("model") / "ridge", masking_spec())


@pytest.fixture
def run(tmp_path: Path, predictor: Predictor) -> RunIt:
    """Return what runs a source to its end, and returns the folder of it."""

    def run_it(source: Troubled, **options: Any) -> Archive:
        return Archive(run_of(tmp_path, predictor, source, **options))

    return run_it


def run_of(out: Path, predictor: Predictor, source: Troubled, **how: Any) -> Path:
    """Run a source to its end, and return the folder of it."""
    daemon = daemon_of(out, predictor, source, **how)
    daemon.run()
    return daemon.folder.path


def daemon_of(
    out: Path,
    predictor: Predictor,
    source: Troubled,
    *,
    config: RunConfig | None = None,
    **options: Any,
) -> Daemon:
    chosen = RunOptions(
        stream="",
        out=out,
        endpoint=f"tcp://127.0.0.1:{two_free_ports()}",
        source="memory",
        **options,
    )
    return Daemon(predictor, chosen, config or RunConfig(), source)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, predictor: Predictor) -> Path:
    """Return the folder of a run of which nothing is wrong, with volumes and hops."""
    source = Troubled([clean(16)], marked(16))
    out = tmp_path_factory.mktemp("sessions")
    return run_of(out, predictor, source, markers="markers", hop=0.25)

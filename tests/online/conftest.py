"""What the tests of the daemon share: a tiny model, a recording, and what starts a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from offline.eeg.recordings import Recording
from rtfeedback.online.publisher import Publisher
from rtfeedback.predictor import Predictor
from tests.lab import Lab, Start, checkpoint_spec, make_recording, save_model


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return save_model(tmp_path_factory.mktemp("model") / "ridge", checkpoint_spec())


@pytest.fixture(scope="session")
def recording() -> Recording:
    return make_recording(12)


@pytest.fixture
def lab(tmp_path: Path, predictor: Predictor, free_port: int) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(**how: Any) -> Lab:
            one = Lab(tmp_path, how.pop("predictor", predictor), free_port, **how)
            return stack.enter_context(one)

        yield start


@pytest.fixture
def published(free_port: int) -> Iterator[Publisher]:
    one = Publisher(f"tcp://127.0.0.1:{free_port}")
    yield one
    one.close()

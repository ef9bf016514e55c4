"""The contract between desk and lab: a folder with checkpoint.json and weights.safetensors.

Weights are tensors and the rest is JSON, so loading one runs no code. It is checked in
full before anything uses it: hashes, keys, shapes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from rtfeedback.chain import ChainSpec
from rtfeedback.config import Config, explain
from rtfeedback.errors import CheckpointError, RtfeedbackError
from rtfeedback.folders import new_folder
from rtfeedback.models import ModelConfig, Shape, build_model
from rtfeedback.models.ensemble import Ensemble
from rtfeedback.models.monte_carlo import MOST, MonteCarlo
from rtfeedback.models.volume import VolumeNetwork, VolumeSpec
from rtfeedback.windows import WindowSpec

JSON_FILE = "checkpoint.json"
WEIGHTS_FILE = "weights.safetensors"
NAME_A_CHECKPOINT = "Name a folder that 'rtfeedback train' wrote"
LARGEST_JSON = 16 * 2**20  # bytes
LARGEST_WEIGHTS = 4 * 2**30  # bytes

Environment = Literal["scanner", "outside"]
SplitKind = Literal["run", "session", "subject", "block", "shuffled"]


class Target(Config):
    """What one output means, and the training part's statistics that make it z."""

    name: Annotated[str, Field(min_length=1)]
    unit: str
    """Unit of `raw`, such as `percent signal change`."""
    mean: float
    sd: Annotated[float, Field(gt=0)]
    definition: str = ""
    """Where the region came from: a mask's name, a sphere's centre."""
    region: str = ""
    """What it is of, where its name says more: how far ahead it is."""
    ahead: Annotated[float, Field(ge=0)] = 0.0
    """Seconds after the time that the window itself is for."""

    @property
    def of(self) -> str:
        """The region, or condition, that it is of."""
        return self.region or self.name


class Training(Config):
    """Where the weights come from."""

    store: str
    """Hash of the prepared store."""
    subjects: tuple[str, ...]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    """Names of the runs of each part; the test part was not read."""
    measured: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the BOLD, or course, of each run of training and validation part: by it a
    run is known in whatever store it lies."""
    split: SplitKind = "run"
    """What was held out whole. `shuffled`: nothing was, and skill is no claim."""
    volumes: dict[str, dict[str, tuple[int, ...]]] = Field(default_factory=dict)
    """Where `block` or `shuffled` cut the runs: the volumes of each part, by run."""
    trs: tuple[float, ...] = ()
    """Every TR of the training runs in seconds, where there is more than one."""
    seed: int
    semi_synthetic: bool = False
    """Real EEG with a simulated BOLD: no claim of skill follows from it."""
    volume_locked: float | None = None
    """Largest share of the training runs' EEG that repeats from volume to volume: near 0
    where gradient artefacts were corrected or there was no scanner, near 1 in raw EEG."""
    notes: dict[str, float | int | str] = Field(default_factory=dict)
    """What the fit chose and reached: penalty, epochs, validation r."""
    versions: dict[str, str] = Field(default_factory=dict)


class Calibration(Config):
    """What made a checkpoint out of another one, for a new subject or day."""

    parent: Annotated[str, Field(min_length=1)]
    """Hash of the checkpoint that it was made of, which stays as it is."""
    by: Literal["eeg", "fmri"]
    """`eeg`: scaler and artefact limits only, so skill in this subject was never measured;
    `fmri`: the subject's own BOLD as well."""
    method: Literal["scaler", "gain", "head", "fine-tune"]
    """What was fitted beside the scaler; `scaler`: nothing was, or nothing was better."""
    source: str
    """The file, stream or store that it was made from."""
    sha256: str
    """Of the samples as they came, or of the store."""
    seconds: Annotated[float, Field(gt=0)]
    """Of EEG that it was made from."""
    notes: dict[str, float | int | str] = Field(default_factory=dict)
    """What the fit found and chose."""
    before: Training | None = None
    """Where the parent's weights come from, where `CheckpointSpec.training` says another."""
    versions: dict[str, str] = Field(default_factory=dict)


class CheckpointSpec(Config):
    """Everything a run needs to know of a model."""

    schema_: Literal["rtfeedback/checkpoint/1"] = Field(
        default="rtfeedback/checkpoint/1", alias="schema"
    )
    model: ModelConfig
    members: Annotated[int, Field(ge=1, le=64)] = 1
    """Networks of that kind, whose mean is told, and whose differences are its sd."""
    passes: Annotated[int, Field(ge=1, le=MOST)] = 1
    """Monte-Carlo passes with dropout, likewise; the training's seed draws their masks."""
    chain: ChainSpec
    window: WindowSpec
    volume: VolumeSpec | None = None
    """Of a model of whole volumes, whose regions the targets are."""
    targets: tuple[Target, ...] = Field(min_length=1)
    tr: Annotated[float, Field(gt=0)]
    """In seconds; of most training windows, where runs of several were trained on."""
    environment: Environment
    """Whether the training's EEG was recorded in the scanner."""
    upstream: str = ""
    """What was done to the EEG before it came to us, such as artefact correction."""
    training: Training
    calibrations: tuple[Calibration, ...] = ()
    """What was done to it since, the last one last."""
    weights_sha256: str = ""

    @model_validator(mode="after")
    def _volumes_have_a_model(self) -> Self:
        if (self.volume is not None) != self.model.of_volumes:
            what = "no 'volume'" if self.volume is None else "a 'volume'"
            raise ValueError(f"{what} beside the model '{self.model.name}'")
        if self.volume is not None and self.members > 1:
            raise ValueError("several 'members' have no volume of their own")
        return self

    @property
    def shape(self) -> Shape:
        """What goes into the model and what comes out."""
        return Shape(
            n_features=self.chain.n_features,
            n_times=self.window.n_times(self.chain.rate),
            n_targets=len(self.targets),
            rate=self.chain.rate,
            hold=self.chain.hold,
            n_bands=self.chain.n_bands,
            volume=self.volume,
        )

    def build(self) -> nn.Module:
        """Return the model with untrained weights."""
        shape = self.shape
        model = build_model(self.model, shape)
        if self.members > 1:
            others = [build_model(self.model, shape) for _ in range(1, self.members)]
            model = Ensemble([model, *others])
        if self.passes > 1:
            size = (shape.n_features, shape.n_times)
            model = MonteCarlo(model, size, self.passes, self.training.seed)
        return model


class Checkpoint:
    """A loaded checkpoint: its spec, its model with weights, and its hash."""

    def __init__(self, path: Path, spec: CheckpointSpec, model: nn.Module, digest: str) -> None:
        self.path, self.spec, self.model, self.hash = path, spec, model, digest


def save_checkpoint(path: Path, spec: CheckpointSpec, model: nn.Module) -> str:
    """Write a checkpoint folder, whole or not at all; return its hash.

    Raises
    ------
    CheckpointError
        If the training diverged, so that a weight is not a number.
    OutputError
        If the folder is there already or cannot be written.
    """
    _check_finite(model.state_dict())
    weights = save_tensors({name: t.contiguous() for name, t in model.state_dict().items()})
    spec = spec.model_copy(update={"weights_sha256": hashlib.sha256(weights).hexdigest()})
    content = spec.model_dump(mode="json", by_alias=True)
    content["hash"] = _hash(content)
    with new_folder(path) as folder:
        (folder / WEIGHTS_FILE).write_bytes(weights)
        (folder / JSON_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return str(content["hash"])


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder and check it in full.

    Raises
    ------
    CheckpointError
        If it is absent, broken, altered, or not one of ours.
    """
    content = _read_json(path)
    stated = content.pop("hash", None)
    if stated is None:
        raise CheckpointError(
            f"{path} is no checkpoint of rtfeedback",
            found=f"{JSON_FILE} states no hash",
            do=NAME_A_CHECKPOINT,
        )
    if stated != _hash(content):
        raise CheckpointError(
            f"The checkpoint {path} was altered after it was written",
            found=f"{JSON_FILE} does not have the hash that it states",
            do="Take it again from where it was trained, or train anew",
        )
    try:
        spec = CheckpointSpec.model_validate(content)
    except ValidationError as error:
        reason = explain(error, CheckpointSpec, JSON_FILE)
        raise CheckpointError(
            f"The checkpoint {path} is not one that this version reads",
            found=reason,
            do="Use the rtfeedback version that wrote it, or train anew",
        ) from error
    return Checkpoint(path, spec, _load_model(path, spec), str(stated))


def _read_json(path: Path) -> dict[str, Any]:
    for file, limit in ((JSON_FILE, LARGEST_JSON), (WEIGHTS_FILE, LARGEST_WEIGHTS)):
        if not (path / file).is_file():
            raise CheckpointError(
                f"{path} is no checkpoint", found=f"No {file}", do=NAME_A_CHECKPOINT
            )
        size = (path / file).stat().st_size
        if size > limit:
            raise CheckpointError(
                f"{path / file} is too large to be a checkpoint's",
                found=f"{size} bytes, where {limit} are the most",
                do=NAME_A_CHECKPOINT,
            )
    try:
        content = json.loads((path / JSON_FILE).read_text(encoding="utf-8"))
        json.dumps(content, allow_nan=False)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path / JSON_FILE} is broken", found=str(error), do=NAME_A_CHECKPOINT
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path / JSON_FILE} is no checkpoint", do=NAME_A_CHECKPOINT)
    return content


def _load_model(path: Path, spec: CheckpointSpec) -> nn.Module:
    try:
        weights = (path / WEIGHTS_FILE).read_bytes()
        if hashlib.sha256(weights).hexdigest() != spec.weights_sha256:
            raise ValueError("the file does not have the hash that checkpoint.json states")
        tensors = load_tensors(weights)
        _check_layout(spec, tensors)
        _check_finite(tensors)
        model = spec.build()
        model.load_state_dict(tensors, strict=True)
        for each in model.modules():  # itself, or what is inside
            if isinstance(each, VolumeNetwork):
                each.check_volume()
    except (OSError, ValueError, RuntimeError, SafetensorError, RtfeedbackError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"The weights of {path} do not belong to its {JSON_FILE}",
            found=reason,
            do="Take the checkpoint again from where it was trained, or train anew",
        ) from error
    return model.eval()


def _check_layout(spec: CheckpointSpec, tensors: dict[str, Tensor]) -> None:
    with torch.device("meta"):  # shapes without memory: a wrong spec may ask for any amount
        expected = spec.build().state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        here, there = _layout(tensors.get(name)), _layout(expected.get(name))
        if here != there:
            raise ValueError(f"'{name}' is {here} in the file, and {there} in the model")


def _layout(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"


def _check_finite(tensors: dict[str, Tensor]) -> None:
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(
            "The model has weights that are not numbers",
            found=", ".join(broken),
            do="Train anew: at a lower learning rate, should the training have diverged",
        )


def _hash(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()

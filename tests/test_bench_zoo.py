"""The benches of the zoo measure what they say, at shapes that are what they are said to be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from torch import nn

from bench import calhas_twin, gpu_share, paper_shapes, zoo
from bench.gpu_share import BIG, Peak, flop_of, share_of
from bench.paper import PAPER
from bench.processes import peak_gib
from bench.rivals.calhas_twin import EEG, EEG_BLOCKS, Block, Twin
from bench.stepping import Prediction, Step, conditions, made, trainable
from rtfeedback.models import AnyModelConfig, Calhas, EEGNet, Network, build_model
from rtfeedback.models.calhas import EEG as STACK
from rtfeedback.models.calhas import CalhasConfig
from rtfeedback.models.layers.residual_encoder import ResidualBlock

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
TRAINABLE = sorted(
    name
    for config in get_args(AnyModelConfig)
    if (name := config.model_fields["name"].default) != "mean-power"
)


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_model_stands_in_the_zoo_and_has_its_papers_shapes() -> None:
    assert sorted({config.model.name for config in zoo.recipes().values()}) == TRAINABLE
    assert sorted({case.config.name for case in PAPER.values()}) == TRAINABLE
    shipped = {path.stem for path in (ROOT / "configs").glob("train-*.toml")}
    assert {f"train-{name}" for name in zoo.recipes()} == shipped


@pytest.mark.parametrize("name", PAPER)
def test_every_model_can_be_built_at_its_papers_shapes(name: str) -> None:
    case = PAPER[name]
    with torch.device("meta"):  # where a number takes no memory
        model = build_model(case.config, case.shape)
    assert trainable(model) > 1000


@pytest.mark.parametrize(
    ("name", "n"),
    [("fc", 45_246_028), ("cnn", 33_650_305), ("calhas", 44_741_047), ("tcn", 94_657)],
)
def test_papers_shapes_give_the_numbers_of_parameters_that_docstrings_tell(
    name: str, n: int
) -> None:
    case = PAPER[name]
    with torch.device("meta"):
        assert trainable(build_model(case.config, case.shape)) == n


def test_the_zoos_volumes_are_the_simulations() -> None:
    volume = zoo.shape_of(zoo.recipes()["volume-lowrank"].model).volume
    assert volume is not None
    assert volume.grid == (50, 59, 48)
    assert 0 < volume.n_voxels < 50 * 59 * 48


def test_a_table_of_the_zoo_has_a_row_for_each_recipe() -> None:
    names = ["ridge", "tcn", "eegnet-conditions", "eegnet-levels"]
    head, _, *rows = cells(zoo.report(1, ["cpu"], names, channels=8))
    assert head == list(zoo.HEADER)
    assert [row[0] for row in rows] == names
    assert rows[0][head.index("training windows/s")] == "closed form"
    n_tcn = build_model(zoo.recipes()["tcn"].model, zoo.shape_of(zoo.recipes()["tcn"].model, 8))
    assert rows[1][head.index("parameters")] == f"{trainable(n_tcn):,}"


@pytest.mark.parametrize("name", ["tcn", "eegnet-conditions", "eegnet-levels"])
def test_steps_of_the_bench_teach_a_model_what_it_is_shown(name: str) -> None:
    recipe = zoo.recipes()[name]
    shape = zoo.shape_of(recipe.model, 8)
    model = made(recipe.model, shape)
    assert isinstance(model, Network)
    fit = recipe.fit.model_copy(update={"batch": 8, "learning_rate": 3e-3})
    step = Step(model, shape, fit)
    losses = [float(step()) for _ in range(40)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_conditions_have_two_values() -> None:
    z = torch.linspace(-1, 1, 6).double().numpy()[:, None]
    assert sorted(set(conditions(z)[:, 0].tolist())) == [-1.0, 1.0]


def test_a_prediction_is_timed_in_the_models_evaluation_mode() -> None:
    recipe = zoo.recipes()["eegnet-2s"]
    shape = zoo.shape_of(recipe.model, 8)
    model = made(recipe.model, shape)
    assert isinstance(model, EEGNet)
    prediction = Prediction(model, shape, CPU)
    model.train()
    assert prediction.seconds() > 0
    assert not model.training


def test_made_models_of_volumes_have_regions_that_answer() -> None:
    case = PAPER["volume-lowrank"]
    model = made(case.config, case.shape)
    x = torch.randn(2, case.shape.n_features, case.shape.n_times)
    assert model.eval()(x).shape == (2, 7)


# --------------------------------------------------------------------------------- the twin


def calhas_at_its_papers_shapes() -> Calhas:
    case = PAPER["calhas"]
    assert isinstance(case.config, CalhasConfig)
    return case.config.build(case.shape)


def test_the_twin_trains_the_very_numbers_that_ours_does() -> None:
    with torch.device("meta"):
        twin, ours = Twin(), calhas_at_its_papers_shapes()
    of_parts = [
        [trainable(each.eeg_encoder), trainable(each.fmri_encoder), trainable(each)]
        for each in (twin, ours)
    ]
    assert of_parts[0] == of_parts[1]
    assert of_parts[0][2] == 44_741_047


def test_the_twins_block_is_the_same_function_as_ours() -> None:
    torch.manual_seed(0)
    kernel, stride = EEG_BLOCKS[0]
    ours = ResidualBlock(1, 4, STACK.on(EEG)[0]).eval()
    twin = Block(1, kernel, stride, STACK.pool).eval()
    both = [path.state_dict() for path in (twin.left[0], twin.right[0])]
    ours.both.load_state_dict({key: torch.cat([each[key] for each in both]) for key in both[0]})
    ours.left.load_state_dict(twin.left[4].state_dict())
    ours.left_norm.load_state_dict(twin.left[5].state_dict())
    x = torch.randn(2, 1, *EEG)
    torch.testing.assert_close(ours(x), twin(x), rtol=1e-4, atol=1e-4)


def contender(name: str, train: float, predict: float) -> calhas_twin.Contender:
    process = SimpleNamespace(pid=0)
    return calhas_twin.Contender(name, process, 7, [train] * 3, [predict] * 3, 1.0)  # type: ignore[arg-type]


def test_the_twins_table_has_ratios_to_the_twin_and_bars_that_can_fail() -> None:
    ours, twin = contender("ours", 0.5, 0.010), contender("twin", 1.0, 0.020)
    rows = cells(calhas_twin.table([ours, twin]))
    assert rows[2][2:4] == ["8.00", "2.00"]
    assert rows[2][4:7] == ["10.0", "10.0", "0.50"]
    said = calhas_twin.bars([ours, twin])
    assert "FAIL" not in said
    assert calhas_twin.NOT_RUN in said
    slow = [
        contender("ours", 1.0, 0.030),
        contender(calhas_twin.OF_SPECTRA, 1.0, 0.028),
        twin,
        contender("original", 2.0, 0.025),
    ]
    failed = [line for line in calhas_twin.bars(slow).splitlines() if "FAIL" in line]
    assert len(failed) == 5
    assert calhas_twin.NOT_RUN not in calhas_twin.bars(slow)


# ------------------------------------------------------------------------------- the papers


def test_a_row_of_the_papers_shapes_says_whether_a_prediction_is_in_time() -> None:
    taken = paper_shapes.Measured(parameters=5, step=1.5, prediction=1.9, peak=2.0, bare=0.3)
    assert paper_shapes.row("calhas", PAPER["calhas"], taken)[-1] == "yes"
    late = paper_shapes.Measured(parameters=5, step=None, prediction=2.1, peak=2.0, bare=0.3)
    assert paper_shapes.row("ridge", PAPER["ridge"], late)[-1] == "**no**"
    assert paper_shapes.row("ridge", PAPER["ridge"], late)[4:6] == ["-", "-"]


def test_a_small_model_is_measured_at_its_papers_shapes() -> None:
    taken = paper_shapes.measure(PAPER["tcn"], rounds=1)
    assert taken["parameters"] == 94_657
    assert taken["step"] is not None
    assert 0 < taken["bare"] <= taken["peak"]


def test_the_peak_is_of_this_process() -> None:
    before = peak_gib()
    taken = torch.ones(2**26)
    assert peak_gib() >= max(before, 0.25)
    assert taken.sum() == 2**26


# ------------------------------------------------------------------------------------- a GPU


def test_operations_are_those_of_the_product() -> None:
    layer, x = nn.Linear(10, 20, bias=False), torch.randn(3, 10)
    assert flop_of(lambda: layer(x)) == 2 * 3 * 10 * 20


@pytest.mark.parametrize(
    ("seconds", "flop", "parameters", "busy", "bound"),
    [
        (1.0, 60, 0, 0.9, "products"),
        (1.0, 10, 0, 0.4, "launches"),
        (1.0, 10, 60, 0.9, "weights"),
        (1.0, 10, 0, 0.9, "other kernels"),
    ],
)
def test_what_bounds_a_step_is_what_takes_half_of_it(
    seconds: float, flop: int, parameters: int, busy: float, bound: str
) -> None:
    peak = Peak(flops=100.0, bandwidth=100.0 * gpu_share.BYTES)
    assert share_of(seconds, flop, parameters, busy, peak).bound_by == bound


def test_the_big_models_are_networks_of_the_papers() -> None:
    for name in BIG:
        assert PAPER[name].shape.n_times > 1000


# ---------------------------------------------------------------------------- the make target


def test_the_readme_names_the_command_that_makes_the_models_table() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "make models" in readme
    assert "bench.models --write" in (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_model_is_told_of_in_the_documents(name: str) -> None:
    told = (ROOT / "docs" / "models.md").read_text("utf-8")
    assert f"| `{name}`" in told

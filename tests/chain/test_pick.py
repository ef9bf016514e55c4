from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtfeedback.chain import ChainConfig, ChainSpec
from rtfeedback.chain.limits import EOGRegression
from rtfeedback.chain.pick import Pick
from rtfeedback.errors import ChannelError
from rtfeedback.signals import StreamInfo

LAW = settings(deadline=None, derandomize=True, max_examples=50)
SITES = ("Fp1", "F3", "Fz", "C3", "Cz", "C4", "T7", "P3", "O1", "AFp3h")


def spec_of(
    *channels: str, reference: str = "", recorded: str = "", sfreq: float = 250.0
) -> ChainSpec:
    one_alone = "recorded" if len(channels) == 1 else "average"
    return ChainSpec(
        config=ChainConfig(reference=reference or one_alone),
        channels=channels,
        sfreq=sfreq,
        recorded_reference=recorded,
    )


def info_of(
    *channels: str,
    kinds: tuple[str, ...] | None = None,
    units: tuple[str, ...] | None = None,
    reference: str = "",
    sfreq: float = 250.0,
) -> StreamInfo:
    n = len(channels)
    return StreamInfo(
        "Cap", sfreq, channels, kinds or ("eeg",) * n, units or ("uV",) * n, reference
    )


def test_channels_come_in_the_models_order_and_in_volts() -> None:
    info = info_of("ECG", "O1", "Fz", "Cz", kinds=("ecg", *("eeg",) * 3), units=("", *"V" * 3))
    volts = Pick(spec_of("Cz", "O1"), info)(np.array([[9, 1, 2, 3]], dtype=np.float32))
    np.testing.assert_array_equal(volts, [[3, 1]])
    assert volts.dtype == np.float64
    assert volts.flags.c_contiguous


@pytest.mark.parametrize(
    ("written", "wanted"), [("FP1.", "Fp1"), ("cz", "CZ"), (" Fz ", "Fz"), ("T7", "t7")]
)
def test_spelling_is_no_difference(written: str, wanted: str) -> None:
    assert Pick(spec_of(wanted), info_of("O1", written)).columns.tolist() == [1]


@LAW
@given(offered=st.permutations(SITES), n=st.integers(1, len(SITES)))
def test_every_channel_is_found_wherever_it_is(offered: list[str], n: int) -> None:
    pick = Pick(spec_of(*SITES[:n]), info_of(*offered))
    assert [offered[i] for i in pick.columns] == [*SITES[:n]]


def test_a_missing_channel_is_named_with_what_is_there_and_what_to_do() -> None:
    with pytest.raises(ChannelError) as caught:
        Pick(spec_of("Fz", "Oz", "Cz", "TP10"), info_of("Cz", "Fz", "T8"))
    said = str(caught.value)
    assert "'Cap' has no channel Oz, TP10" in said
    assert "It offers 3 channels: Cz, Fz, T8" in said
    assert "Check the montage" in said


@LAW
@given(a=st.sampled_from(SITES), b=st.sampled_from(SITES), apart=st.sampled_from("- _/:"))
def test_a_bipolar_channel_is_no_monopolar_one(a: str, b: str, apart: str) -> None:
    bipolar = f"{a}{apart}{b}"
    with pytest.raises(ChannelError, match=f"no channel {a}"):
        Pick(spec_of(a), info_of(bipolar, f"{b}{apart}{a}"))
    with pytest.raises(ChannelError, match="no channel"):
        Pick(spec_of(bipolar), info_of(a, "O2"))


@pytest.mark.parametrize("near", ["P7", "T8", "T7 ref", "EEG T7", "T7-REF", "T3-Cz", "T07"])
def test_a_channel_is_never_guessed(near: str) -> None:
    with pytest.raises(ChannelError, match="no channel T7"):
        Pick(spec_of("T7"), info_of(near))


def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ChannelError, match="has channel Cz 2 times"):
        Pick(spec_of("Fz", "Cz"), info_of("CZ", "Fz", "Cz."))
    assert Pick(spec_of("Fz"), info_of("CZ", "Fz", "Cz.")).columns.tolist() == [1]


@pytest.mark.parametrize("kind", ["eog", "ecg", "emg", "misc"])
def test_a_channel_that_is_not_eeg_is_never_taken_as_eeg(kind: str) -> None:
    info = info_of("Fz", "Fp1", kinds=("eeg", kind))
    with pytest.raises(ChannelError, match=f"Channel Fp1 of 'Cap' is {kind.upper()}"):
        Pick(spec_of("Fz", "Fp1"), info)
    with pytest.raises(ChannelError, match=kind.upper()):
        Pick(spec_of("Fz", reference="Fp1"), info)
    assert Pick(spec_of("Fz"), info).columns.tolist() == [0]


@pytest.mark.parametrize("sfreq", [500.0, 256.0, 249.0, 0.0])
def test_another_rate_is_refused(sfreq: float) -> None:
    with pytest.raises(ChannelError, match=f"runs at {sfreq:g} Hz, not at the chain's 250 Hz"):
        Pick(spec_of("Cz"), info_of("Cz", sfreq=sfreq))


@pytest.mark.parametrize("sfreq", [250.0, 249.99, 250.2])
def test_a_rate_as_amplifiers_state_it_is_accepted(sfreq: float) -> None:
    Pick(spec_of("Cz"), info_of("Cz", sfreq=sfreq))


def test_another_recorded_reference_is_refused_where_the_chain_keeps_it() -> None:
    with pytest.raises(ChannelError, match=r"to CPz, .* referenced to FCz") as caught:
        Pick(
            spec_of("Cz", reference="recorded", recorded="FCz"), info_of("Cz", reference="CPZ")
        )
    assert "reference = 'average'" in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "recorded", "stated"),
    [
        ("average", "FCz", "CPz"),
        ("Fz", "FCz", "CPz"),
        ("recorded", "FCz", "fcz"),
        ("recorded", "", "CPz"),
        ("recorded", "FCz", ""),
    ],
)
def test_a_reference_that_is_cancelled_alike_or_not_stated_is_accepted(
    reference: str, recorded: str, stated: str
) -> None:
    spec = spec_of("Cz", "Fz", reference=reference, recorded=recorded)
    Pick(spec, info_of("Cz", "Fz", reference=stated))


def test_a_reference_by_name_has_to_be_there() -> None:
    assert Pick(spec_of("Cz", reference="M1"), info_of("M1", "Cz")).columns.tolist() == [1, 0]
    with pytest.raises(ChannelError, match="no channel M1"):
        Pick(spec_of("Cz", reference="M1"), info_of("Cz"))
    with pytest.raises(ChannelError, match="M1 2 times"):
        Pick(spec_of("Cz", reference="M1"), info_of("Cz", "M1", "m1"))


def test_a_unit_that_is_no_voltage_is_refused_only_where_it_counts() -> None:
    info = info_of("Cz", "Fz", units=("uV", "g"))
    with pytest.raises(
        ChannelError, match=r"Channel Fz of 'Cap' is not in volts.*'g'"
    ) as caught:
        Pick(spec_of("Fz"), info)
    assert "Known are V, mV, uV" in str(caught.value)
    assert "state its unit, or train without the channel" in str(caught.value)
    assert Pick(spec_of("Cz"), info).scales.tolist() == [1e-6]


# ------------------------------------------------------------------ two names of one site


@pytest.mark.parametrize(
    ("wanted", "there"),
    [("T7", "T3"), ("T8", "T4"), ("P7", "T5"), ("P8", "T6")],
)
def test_a_site_is_found_by_its_other_name_and_that_is_told(wanted: str, there: str) -> None:
    for one, other in ((wanted, there), (there, wanted)):
        pick = Pick(spec_of("Cz", one), info_of("O1", other.upper(), "Cz"))
        assert pick.columns.tolist() == [2, 1]
        assert f"{other} of 'Cap' is taken as {one}" in pick.notes[0]


def test_an_exact_name_comes_before_the_other_one() -> None:
    pick = Pick(spec_of("T7", "T3"), info_of("T3", "T7"))
    assert pick.columns.tolist() == [1, 0]
    assert not any("taken as" in note for note in pick.notes)


def test_one_column_is_never_two_channels() -> None:
    with pytest.raises(ChannelError, match="no channel T3"):
        Pick(spec_of("T7", "T3"), info_of("T7", "Cz"))


def test_the_other_name_of_another_organ_is_refused() -> None:
    info = info_of("T3", "Cz", kinds=("emg", "eeg"))
    with pytest.raises(ChannelError, match="Channel T3 of 'Cap' is EMG, not EEG"):
        Pick(spec_of("T7"), info)


# ------------------------------------------------------------------ EOG


def with_eog(*eog: str, reference: str = "recorded") -> ChainSpec:
    regression = EOGRegression(
        channels=eog,
        referenced=(False,) * len(eog),
        coefficients=((0.1,),) * len(eog),
        fitted_on=("a",),
    )
    return spec_of("Cz", reference=reference).model_copy(update={"eog": regression})


def test_eog_channels_come_last_after_a_lent_reference() -> None:
    info = info_of("VEOG", "M1", "Fp1", "Cz", kinds=("eog", "eeg", "eeg", "eeg"))
    assert Pick(with_eog("VEOG", "Fp1"), info).columns.tolist() == [3, 0, 2]
    assert Pick(with_eog("Fp1", reference="M1"), info).columns.tolist() == [3, 1, 2]


def test_an_eog_channel_is_eog_or_eeg_and_has_to_be_there() -> None:
    with pytest.raises(ChannelError, match="Channel VEOG of 'Cap' is ECG, not EEG or EOG"):
        Pick(with_eog("VEOG"), info_of("VEOG", "Cz", kinds=("ecg", "eeg")))
    with pytest.raises(ChannelError, match="no channel VEOG"):
        Pick(with_eog("VEOG"), info_of("Cz"))
    with pytest.raises(ChannelError, match="not in volts"):
        Pick(with_eog("VEOG"), info_of("VEOG", "Cz", kinds=("eog", "eeg"), units=("g", "uV")))


# ------------------------------------------------------------------ what is told


def test_units_are_told_by_group_and_silence_is_told_as_an_assumption() -> None:
    info = info_of("Cz", "Fz", "O1", "ECG", units=("uV", "", "", "mV"))
    notes = Pick(spec_of("O1", "Cz", "Fz"), info).notes
    assert notes == (
        "'Cap' states no unit for 2 of the channels that are used: microvolts are assumed",
        "'Cap' states uV for 1 of the channels that are used",
    )


def test_an_unnamed_reference_is_told_where_the_chain_keeps_it() -> None:
    spec = spec_of("Cz", reference="recorded", recorded="FCz")
    assert any("FCz, is assumed" in note for note in Pick(spec, info_of("Cz")).notes)
    info = info_of("Cz", reference="REF")
    assert any("FCz, is assumed" in note for note in Pick(spec, info).notes)
    info = info_of("Cz", reference="FCz")
    assert not any("assumed" in note for note in Pick(spec, info).notes)

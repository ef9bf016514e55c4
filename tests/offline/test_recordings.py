from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline.eeg import recordings
from offline.eeg.recordings import Recording, read_recording, recording_from_raw
from rtfeedback.errors import RecordingError, RtfeedbackError
from rtfeedback.signals import Marker, StreamInfo

mne = pytest.importorskip("mne")
pybv = pytest.importorskip("pybv")
pytest.importorskip("pyxdf")

RATE = 250.0
BROKEN_LINK = "/annex/objects/MD5E-s11812--a2fa2850030ce757ee12ae4bb9c78e35.vhdr\n"


def volts(n_times: int = 1000, n_channels: int = 3) -> Any:
    return np.random.default_rng(0).normal(0, 2e-5, (n_channels, n_times))


def write_brainvision(folder: Path) -> Path:
    events = [
        {"onset": 100, "duration": 1, "description": 128, "type": "Response"},
        {"onset": 600, "duration": 1, "description": 1, "type": "Stimulus"},
        {"onset": 999, "duration": 1, "description": "pressed", "type": "Comment"},
    ]
    pybv.write_brainvision(
        data=volts(),
        sfreq=RATE,
        ch_names=["FP1", "Cz", "ECG"],
        ref_ch_names="FCz",
        fname_base="rec",
        folder_out=folder,
        events=events,
        fmt="binary_float32",
    )
    return folder / "rec.vhdr"


def raw_array(**channels: str) -> Any:
    info = mne.create_info(list(channels), RATE, list(channels.values()))
    return mne.io.RawArray(volts(n_channels=len(channels)), info, verbose="error")


class XDF:
    """The smallest XDF writer that makes the files that these tests need."""

    def __init__(self) -> None:
        self.bytes = b"XDF:" + self._chunk(1, b"<info><version>1.0</version></info>")
        self.n = 0

    @staticmethod
    def _chunk(tag: int, content: bytes) -> bytes:
        return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content

    def stream(
        self, kind: str, labels: str, stamps: Any, unit: str = "", host: str = "a"
    ) -> XDF:
        """Add a float32 stream whose samples are counted 0, 1, 2 ..."""
        channels = "".join(
            f"<channel><label>{label}</label><unit>{unit}</unit></channel>"
            for label in labels.split()
        )
        width = len(labels.split())
        self._header(kind, "float32", width, RATE, host, f"<channels>{channels}</channels>")
        samples = np.arange(len(stamps) * width, dtype="<f4").reshape(-1, width)
        rows = zip(stamps, samples, strict=True)
        return self._samples([struct.pack("<d", s) + row.tobytes() for s, row in rows])

    def markers(self, stamped: dict[float, str], host: str = "a") -> XDF:
        self._header("Markers", "string", 1, 0.0, host, "")
        texts = ((s, label.encode()) for s, label in stamped.items())
        return self._samples(
            [struct.pack("<d", s) + bytes([1, len(text)]) + text for s, text in texts]
        )

    def offset(self, seconds: float) -> XDF:
        """Measure the last stream's clock offset."""
        self.bytes += self._chunk(4, struct.pack("<Idd", self.n, 1.0, seconds))
        return self

    def write(self, path: Path, *, cut: int = 0) -> Path:
        path.write_bytes(self.bytes[: len(self.bytes) - cut])
        return path

    def _header(
        self, kind: str, fmt: str, width: int, rate: float, host: str, desc: str
    ) -> None:
        self.n += 1
        xml = (
            f"<info><name>S{self.n}</name><type>{kind}</type><channel_count>{width}"
            f"</channel_count><nominal_srate>{rate}</nominal_srate><channel_format>{fmt}"
            f"</channel_format><hostname>{host}</hostname><desc>{desc}</desc></info>"
        )
        self.bytes += self._chunk(2, struct.pack("<I", self.n) + xml.encode())

    def _samples(self, rows: list[bytes]) -> XDF:
        content = struct.pack("<IBI", self.n, 4, len(rows))
        self.bytes += self._chunk(3, content + b"".join(b"\x08" + row for row in rows))
        return self


def stamps(n: int = 1000, start: float = 50.0) -> Any:
    return start + np.arange(n) / RATE


# ------------------------------------------------------------------ what is read


def test_edf_is_read_as_the_float32_microvolts_of_mne(shared: Path) -> None:
    path = shared / "eegmmidb_S001" / "S001R03.edf"
    recording = read_recording(path)
    raw = mne.io.read_raw_edf(path, preload=True, verbose="error")
    assert np.array_equal(recording.samples, (raw.get_data() * 1e6).T.astype(np.float32))
    assert recording.samples.dtype == np.float32
    assert recording.samples.flags.c_contiguous
    assert recording.info.sfreq == 160
    assert recording.info.channels[:4] == ("FC5", "FC3", "FC1", "FCz")
    assert set(recording.info.kinds) == {"eeg"}
    assert set(recording.info.units) == {"microvolts"}
    assert recording.markers[:2] == (Marker(0.0, "T0"), Marker(4.2, "T2"))
    assert len(recording.markers) == 30


def test_brainvision_markers_are_those_of_the_wire(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    places = "[Coordinates]\nCh1=1,-90,-72\nCh2=1,0,0\nCh3=0,0,0\n\n[Comment]\nDataFile=lost\n"
    path.write_text(path.read_text().replace("[Comment]", places))  # as recorders do
    recording = read_recording(path)
    assert recording.markers == (
        Marker(100 / RATE, "R128"),
        Marker(600 / RATE, "S  1"),
        Marker(999 / RATE, "pressed"),
    )
    assert recording.info.name == "rec"
    assert recording.info.channels == ("Fp1", "Cz", "ECG")
    assert recording.info.kinds == ("eeg", "eeg", "ecg")
    assert recording.info.reference == "FCz"
    assert np.allclose(recording.samples.T, volts() * 1e6, rtol=1e-6)


def test_the_real_xdf_is_read_as_received(shared: Path) -> None:
    import pyxdf

    path = shared / "xdf" / "muselsl2_P001.xdf"
    recording = read_recording(path)
    streams, _ = pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)
    eeg = next(s for s in streams if s["info"]["type"] == ["EEG"])
    assert np.array_equal(recording.samples, eeg["time_series"])
    assert recording.info.channels == ("TP9", "AF7", "AF8", "TP10", "Right AUX")
    assert recording.info.kinds == ("eeg", "eeg", "eeg", "eeg", "misc")
    assert recording.info.sfreq == 256


def test_xdf_markers_count_from_the_first_sample_on_its_clock(tmp_path: Path) -> None:
    xdf = XDF().stream("EEG", "FP1 Cz", stamps()).offset(10.0)
    xdf.markers({51.0: "R128", 50.5: "S  1"}).offset(99.0)  # one host: its offsets are noise
    xdf.markers({1061.0: "far"}, host="b").offset(-1000.0)  # another host: they are not
    recording = read_recording(xdf.write(tmp_path / "a.xdf"))
    assert recording.markers == (Marker(0.5, "S  1"), Marker(1.0, "R128"), Marker(1.0, "far"))
    assert recording.info.channels == ("Fp1", "Cz")


@pytest.mark.parametrize("ppm", [-200.0, 0.0, 150.0])
def test_xdf_markers_fall_on_the_samples_that_were_received_with_them(
    tmp_path: Path, ppm: float
) -> None:
    """An amplifier's clock is not the marker computer's: 150 ppm are 90 ms in ten minutes."""
    jitter = np.random.default_rng(0).uniform(-2e-3, 2e-3, 30_000)
    received = 50.0 + np.arange(30_000) / RATE / (1 + ppm * 1e-6) + jitter
    marked = {float(received[k] - jitter[k]): f"S{k}" for k in (0, 9_999, 29_000)}
    xdf = XDF().stream("EEG", "Cz", received).markers(marked)
    recording = read_recording(xdf.write(tmp_path / "a.xdf"))
    samples = [marker.stamp * RATE for marker in recording.markers]
    assert samples == pytest.approx([0, 9_999, 29_000], abs=0.05)


def test_xdf_in_another_unit_becomes_microvolts(tmp_path: Path) -> None:
    recording = read_recording(
        XDF().stream("EEG", "C3", stamps(), "mV").write(tmp_path / "a.xdf")
    )
    assert np.array_equal(recording.samples[:, 0], 1000 * np.arange(1000, dtype=np.float32))
    assert recording.info.units == ("microvolts",)


def test_triggers_and_what_is_no_voltage_are_left_out() -> None:
    raw = raw_array(C3="eeg", STI="stim", belt="misc", HEOG="eeg", EMG="emg")
    recording = recording_from_raw(raw, "x")
    assert recording.info.channels == ("C3", "HEOG", "EMG")
    assert recording.info.kinds == ("eeg", "eog", "emg")
    assert recording.samples.shape == (1000, 3)


def test_blocks_do_not_change_the_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = raw_array(C3="eeg", C4="eeg")
    whole = recording_from_raw(raw, "x").samples
    monkeypatch.setattr(recordings, "_BLOCK", 7)
    assert np.array_equal(recording_from_raw(raw, "x").samples, whole)


@pytest.mark.parametrize("dated", [False, True])
def test_markers_of_a_cropped_raw_count_from_its_first_sample(dated: bool) -> None:
    raw = raw_array(C3="eeg")
    if dated:
        raw.set_meas_date(1_000_000)
    raw.set_annotations(mne.Annotations([2.0, 3.0], 0.0, ["Stimulus/R128", "Response/R  1"]))
    raw.crop(1.0)
    assert recording_from_raw(raw, "x").markers == (Marker(1.0, "R128"), Marker(2.0, "R  1"))


# ------------------------------------------------------------------ what is refused


def refusal(path: Path) -> str:
    with pytest.raises(RecordingError) as caught:
        read_recording(path)
    assert caught.value.do
    return str(caught.value)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.vhdr")


def test_a_foreign_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no EEG")
    (tmp_path / "a.edf").write_text("no EEG either")
    (tmp_path / "a.xdf").write_text("nor here")
    (tmp_path / "a.fif").write_text("nor there")
    (tmp_path / "empty.edf").touch()
    for name in ("notes.txt", "a.edf", "a.xdf", "a.fif", "empty.edf", "."):
        refusal(tmp_path / name)


def test_brainvision_without_data_is_refused(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    path.with_suffix(".eeg").write_bytes(b"")
    assert "rec.eeg holds 0 bytes" in refusal(path)
    path.with_suffix(".eeg").unlink()
    assert "rec.eeg does not exist" in refusal(path)


@pytest.mark.parametrize("folder", ["sub-32/eeg", "derivatives/sub-32/eeg"])
def test_the_real_header_of_an_empty_file_is_refused(shared: Path, folder: str) -> None:
    path = shared / "noddi_bids_example" / folder / "sub-32_task-rest_eeg.vhdr"
    assert "holds 0 bytes" in refusal(path)


@pytest.mark.parametrize("lost", [1, 6, 12])
def test_truncated_brainvision_is_refused(tmp_path: Path, lost: int) -> None:
    # 12 bytes are one sample: the one that the last marker is at.
    path = write_brainvision(tmp_path)
    data = path.with_suffix(".eeg")
    data.write_bytes(data.read_bytes()[:-lost])
    assert "truncated" in refusal(path)


def test_a_broken_link_in_place_of_a_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.vhdr").write_text(BROKEN_LINK)
    assert f"{len(BROKEN_LINK)} bytes" in refusal(tmp_path / "a.vhdr")


def test_truncated_edf_is_refused(shared: Path, tmp_path: Path) -> None:
    whole = (shared / "eegmmidb_S001" / "S001R03.edf").read_bytes()
    for lost in (1, 2 * 160 * 64 + 2 * 10, len(whole) // 2):
        (tmp_path / "a.edf").write_bytes(whole[:-lost])
        assert "125 records" in refusal(tmp_path / "a.edf")


def test_discontinuous_edf_is_refused(shared: Path, tmp_path: Path) -> None:
    whole = (shared / "eegmmidb_S001" / "S001R01.edf").read_bytes()
    (tmp_path / "a.edf").write_bytes(whole.replace(b"EDF+C", b"EDF+D", 1))
    assert "discontinuous" in refusal(tmp_path / "a.edf")


def test_xdf_without_one_eeg_stream_is_refused_naming_them(
    shared: Path, tmp_path: Path
) -> None:
    found = refusal(shared / "xdf" / "empty_streams.xdf")
    assert "0 EEG streams" in found
    assert "'ctrl' (type control, 1 samples)" in found
    two = XDF().stream("EEG", "C3", stamps()).stream("EEG", "C4", stamps())
    assert "2 EEG streams" in refusal(two.write(tmp_path / "a.xdf"))


def test_xdf_without_labels_is_refused(shared: Path) -> None:
    for name in ("minimal.xdf", "clock_resets.xdf"):
        assert "does not name its channels" in refusal(shared / "xdf" / name)


def test_xdf_with_lost_samples_is_refused(tmp_path: Path) -> None:
    broken = stamps(5000)
    broken[2500:] += 0.1
    assert "irregular" in refusal(XDF().stream("EEG", "C3", broken).write(tmp_path / "a.xdf"))


def test_xdf_with_jitter_and_a_stall_is_whole(tmp_path: Path) -> None:
    late = stamps(5000) + np.random.default_rng(0).normal(0, 0.005, 5000)
    late[2500:2625] += 0.3
    recording = read_recording(XDF().stream("EEG", "C3", late).write(tmp_path / "a.xdf"))
    assert len(recording.samples) == 5000


def test_xdf_that_ends_inside_a_chunk_is_read_up_to_it_and_says_so(tmp_path: Path) -> None:
    xdf = XDF().stream("EEG", "C3", stamps())
    whole = len(xdf.bytes)
    xdf.stream("EEG", "C4", stamps())
    for left in (whole + 1, whole + 7, len(xdf.bytes) - 1):
        recording = read_recording(
            xdf.write(tmp_path / "a.xdf", cut=len(xdf.bytes) - left),
        )
        assert recording.info.channels == ("C3",)  # nothing of the other came to its end
        assert np.array_equal(recording.samples[:, 0], np.arange(1000, dtype=np.float32))
        assert any("ends inside a chunk" in note for note in recording.notes)
    recording = read_recording(xdf.write(tmp_path / "a.xdf", cut=len(xdf.bytes) - whole))
    assert not any("ends inside a chunk" in note for note in recording.notes)


def test_xdf_that_is_damaged_before_its_end_is_refused(tmp_path: Path) -> None:
    xdf = XDF().stream("EEG", "C3", stamps())
    whole = len(xdf.bytes)
    xdf.bytes += b"\x07"
    xdf.stream("ACC", "X", stamps())
    assert f"truncate -s {whole}" in refusal(xdf.write(tmp_path / "a.xdf"))


def test_a_stream_that_broke_off_and_came_back_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    xdf = XDF().stream("EEG", "C3", stamps())
    xdf.n = -1
    xdf.bytes = xdf.bytes.replace(b"<name>S1", b"<name>S0")
    xdf.stream("EEG", "C3", stamps(start=100.0))  # S0, too
    found = refusal(xdf.write(tmp_path / "a.xdf"))
    assert "2 EEG streams" in found
    assert "rtfeedback replay" in found


def test_samples_that_are_not_finite_are_refused() -> None:
    raw = raw_array(C3="eeg", C4="eeg")
    raw._data[1, 42] = np.nan
    with pytest.raises(RecordingError, match="1 of them in C4, the first at sample 42"):
        recording_from_raw(raw, "x")


def test_two_channels_of_one_name_are_refused() -> None:
    with pytest.raises(RecordingError, match="Cz"):
        recording_from_raw(raw_array(Cz="eeg", CZ="eeg"), "x")


def test_a_recording_without_eeg_is_refused() -> None:
    with pytest.raises(RecordingError, match="no EEG"):
        recording_from_raw(raw_array(ECG="eeg"), "x")


def test_without_mne_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_brainvision(tmp_path)
    monkeypatch.setitem(sys.modules, "mne", None)
    with pytest.raises(RtfeedbackError, match=r"rtfeedback\[offline\]"):
        read_recording(path)


def test_a_recording_that_was_paused_is_refused() -> None:
    info = StreamInfo("paused", 100.0, ("C3",), ("eeg",), ("microvolts",))
    samples = np.zeros((300, 1), np.float32)
    Recording(info, samples, (Marker(0.0, "New Segment/"),))
    with pytest.raises(RecordingError, match=r"paused.*begins at 1\.5 s"):
        Recording(info, samples, (Marker(0.0, "New Segment/"), Marker(1.5, "New Segment/")))

"""Downloads through the real openneuro-py, from a server on this machine."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from offline.datasets.fetch import fetch
from rtfeedback.errors import DatasetError, OutputError, RtfeedbackError

# When one file fails, openneuro-py drops the others half-way with their files open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

Run = Callable[..., tuple[int, str, list[str]]]
DATASET = "ds002336"
FILES = {
    "dataset_description.json": b'{"Name": "XP1", "DatasetDOI": ""}',
    "participants.tsv": b"participant_id\nsub-xp101\nsub-xp102\n",
    "task-rest_bold.json": b'{"RepetitionTime": 2}',
    "README": b"read me",
    ".bidsignore": b"*",
    "sub-xp101/eeg/sub-xp101_task-rest_eeg.eeg": bytes(range(256)) * 40,
    "sub-xp101/anat/sub-xp101_T1w.nii.gz": b"a head",
    "sub-xp102/eeg/sub-xp102_task-rest_eeg.eeg": b"samples",
    "derivatives/sub-xp101/eeg_pp/sub-xp101_task-rest_eeg_pp.dat": b"clean samples",
}


class OpenNeuro(BaseHTTPRequestHandler):
    """The two answers that openneuro-py asks for: what there is, and a file."""

    url = ""
    asked: list[str] = []  # noqa: RUF012 (filled per test)
    refused: set[str] = set()  # noqa: RUF012

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        files = [
            {"filename": name, "urls": [f"{self.url}/{name}"], "size": len(data), "id": name}
            for name, data in FILES.items()
        ]
        snapshot = {"id": f"{DATASET}:1.0.0", "files": files}
        answer = {"data": {"dataset": {"latestSnapshot": snapshot}}}
        self._send(json.dumps(answer).encode())

    def do_HEAD(self) -> None:
        self._send(FILES[self.path[1:]], body=False)

    def do_GET(self) -> None:
        name = self.path[1:]
        first = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.asked.append(f"{name} from {first}")
        if name in self.refused:
            self.send_error(403)
        else:
            self._send(FILES[name], first=first)

    def _send(self, data: bytes, *, body: bool = True, first: int = 0) -> None:
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("ETag", hashlib.md5(data, usedforsecurity=False).hexdigest())
        self.end_headers()
        if body:
            self.wfile.write(data[first:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[OpenNeuro]]:
    """Return what answers in place of OpenNeuro, on loopback."""
    from openneuro import _download

    OpenNeuro.asked, OpenNeuro.refused = [], set()
    http = ThreadingHTTPServer(("127.0.0.1", 0), OpenNeuro)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    OpenNeuro.url = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setattr(_download, "gql_url", f"{OpenNeuro.url}/")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield OpenNeuro
    http.shutdown()
    thread.join()
    http.server_close()
    gc.collect()  # what was left open is closed here, and not within another test


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    """Have nothing answer where OpenNeuro would."""
    from openneuro import _download

    monkeypatch.setattr(_download, "gql_url", f"http://127.0.0.1:{free_port}/")


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_dataset_comes_whole_but_for_hidden_files(
    server: type[OpenNeuro], tmp_path: Path
) -> None:
    out = fetch(DATASET, tmp_path / "a" / "xp1", retries=0)
    assert names(out) == FILES.keys() - {".bidsignore"}
    assert all((out / name).read_bytes() == FILES[name] for name in names(out))
    assert [path.name for path in out.parent.iterdir()] == ["xp1"]


def test_a_subject_comes_with_its_derivatives_and_what_is_everyones(
    server: type[OpenNeuro], tmp_path: Path
) -> None:
    out = fetch(DATASET, tmp_path / "xp1", ["sub-xp101"], exclude=["*_T1w.nii.gz"], retries=0)
    others = {name for name in FILES if "xp102" in name or "T1w" in name}
    assert names(out) == FILES.keys() - others - {".bidsignore"}


def test_another_subject_is_added_to_what_is_there(
    server: type[OpenNeuro], tmp_path: Path
) -> None:
    fetch(DATASET, tmp_path / "xp1", ["xp101"], retries=0)
    fetch(DATASET, tmp_path / "xp1", ["xp102"], retries=0)
    assert names(tmp_path / "xp1") == FILES.keys() - {".bidsignore"}
    assert names(tmp_path) == {f"xp1/{name}" for name in names(tmp_path / "xp1")}


def test_what_was_begun_goes_on_and_shows_only_when_it_is_whole(
    server: type[OpenNeuro], tmp_path: Path
) -> None:
    large = "sub-xp101/eeg/sub-xp101_task-rest_eeg.eeg"
    server.refused = {large}
    with pytest.raises(DatasetError, match="what came so far lies in") as caught:
        fetch(DATASET, tmp_path / "xp1", retries=0)
    assert large in caught.value.found
    assert not (tmp_path / "xp1").exists()
    (stage,) = tmp_path.iterdir()
    (stage / large).write_bytes(FILES[large][:1000])  # as a kill would leave it
    server.refused, server.asked[:] = set(), []
    assert names(fetch(DATASET, tmp_path / "xp1", retries=0)) == FILES.keys() - {".bidsignore"}
    assert f"{large} from 1000" in server.asked
    assert (tmp_path / "xp1" / large).read_bytes() == FILES[large]
    assert not stage.exists()


def test_a_subject_that_is_not_there_leaves_nothing(
    server: type[OpenNeuro], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="sub-xp999"):
        fetch(DATASET, tmp_path / "xp1", ["xp999"], retries=0)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_one_paragraph_says_where_else_to_go(
    no_network: None, rtfeedback: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "offline.datasets.fetch.fetch.__kwdefaults__", {"exclude": (), "retries": 0}
    )
    code, out, said = rtfeedback("fetch", DATASET, "data/xp1", "--subjects", "xp101,xp102")
    assert (code, out, len(said)) == (1, "", 1)
    assert f"{DATASET} could not be downloaded" in said[0]
    for way in ("run the same command again", f"openneuro.org/datasets/{DATASET}", "datalad"):
        assert way in said[0]
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_one_paragraph_names_the_extra(
    rtfeedback: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openneuro", None)
    code, _, said = rtfeedback("fetch", DATASET, "xp1")
    assert (code, len(said)) == (1, 1)
    assert "pip install 'rtfeedback[fetch]'" in said[0]


@pytest.mark.parametrize(
    ("dataset", "subjects", "words"),
    [("002336", [], "no dataset of OpenNeuro"), (DATASET, ["xp/1"], "'xp/1' is no subject")],
)
def test_what_cannot_be_a_name_is_refused_before_anything_is_asked(
    tmp_path: Path, dataset: str, subjects: list[str], words: str
) -> None:
    with pytest.raises(RtfeedbackError, match=words):
        fetch(dataset, tmp_path / "x", subjects)


def test_a_folder_of_something_else_is_left_alone(
    server: type[OpenNeuro], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        fetch(DATASET, tmp_path, retries=0)
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text('{"Name": "XP2"}')
    with pytest.raises(OutputError, match="another dataset than ds002336"):
        fetch(DATASET, other, retries=0)
    assert names(tmp_path) >= {"notes.txt", "other/dataset_description.json"}
    assert json.loads((other / "dataset_description.json").read_text()) == {"Name": "XP2"}

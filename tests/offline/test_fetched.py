from __future__ import annotations

from pathlib import Path

import pytest

from offline.datasets.fetched import check_fetched
from rtfeedback.errors import DatasetError


@pytest.mark.parametrize(
    "text",
    [
        "/annex/objects/MD5E-s11812--a2fa2850030ce757ee12ae4bb9c78e35.vhdr\n",
        "../../../.git/annex/objects/x/y/MD5E-s1--a.nii.gz/MD5E-s1--a.nii.gz",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
    ],
)
def test_the_text_of_a_link_in_a_files_place_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sub-1_eeg.vhdr"
    path.write_text(text)
    size = len(text.encode())
    with pytest.raises(DatasetError, match=f"is broken. the text of a link, {size} bytes"):
        check_fetched(path)


def test_a_link_to_what_is_not_here_was_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "sub-1_bold.nii.gz"
    path.symlink_to("../.git/annex/objects/nothing")
    with pytest.raises(DatasetError, match=r"was not fetched\. a link to .*annex"):
        check_fetched(path)


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.eeg").touch()
    with pytest.raises(DatasetError, match="is empty"):
        check_fetched(tmp_path / "x.eeg")


def test_a_short_file_that_is_itself_and_a_link_that_leads_somewhere_pass(
    tmp_path: Path,
) -> None:
    (tmp_path / "x.vhdr").write_text("Brain Vision Data Exchange Header File Version 1.0\n")
    (tmp_path / "y.vhdr").symlink_to("x.vhdr")
    check_fetched(tmp_path / "x.vhdr")
    check_fetched(tmp_path / "y.vhdr")

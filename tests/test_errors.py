from __future__ import annotations

import inspect

import pytest

from rtfeedback import errors
from rtfeedback.errors import RtfeedbackError

TREE = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if each.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", TREE)
def test_every_error_is_of_the_one_tree(error: type[Exception]) -> None:
    assert issubclass(error, RtfeedbackError)


def test_an_error_says_what_is_wrong_what_was_found_and_what_to_do() -> None:
    error = RtfeedbackError("No EEG", found="3 belts", do="Plug it in")
    assert str(error) == "No EEG. 3 belts. Plug it in."
    assert (error.wrong, error.found, error.do) == ("No EEG", "3 belts", "Plug it in")


def test_what_is_not_said_leaves_no_trace() -> None:
    assert str(RtfeedbackError("No EEG", do="Plug it in")) == "No EEG. Plug it in."


@pytest.mark.parametrize("said", ["It is so.", "Is it so?", "It is so!"])
def test_a_sentence_that_ends_is_left_as_it_is(said: str) -> None:
    assert str(RtfeedbackError(said)) == said


def test_it_is_one_paragraph_whatever_it_quotes() -> None:
    quoted = "size mismatch:\n\n\tcopying a param\r\n  shape  "
    assert str(RtfeedbackError("No", found=quoted)) == (
        "No. size mismatch:  copying a param shape."
    )


def test_a_label_keeps_its_spaces() -> None:
    assert str(RtfeedbackError("Its markers are: S  1")) == "Its markers are: S  1."

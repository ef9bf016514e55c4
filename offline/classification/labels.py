"""Which group each subject is of, by a column of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from offline.datasets.tables import read_table
from rtfeedback.errors import DatasetError, listed

SUBJECT = "participant_id"
UNKNOWN = ("", "n/a", "nan")


@dataclass(frozen=True, slots=True)
class Labels:
    """Subjects, without `sub-`, and their groups.

    Attributes
    ----------
    table : Path
    column : str
    of : mapping of str to str
        The label of each subject that has one.
    unknown : tuple of str
        Subjects whose row says that it is not known.
    """

    table: Path
    column: str
    of: Mapping[str, str]
    unknown: tuple[str, ...]

    def check_rows(self, subjects: set[str]) -> None:
        """Refuse subjects that have no row.

        Raises
        ------
        DatasetError
        """
        if missing := sorted(subjects.difference(self.of, self.unknown)):
            raise DatasetError(
                f"{self.table} has no row for subjects that have recordings",
                found=listed([f"sub-{each}" for each in missing]),
                do=f"Add them; those with n/a in '{self.column}' are left out",
            )


def read_labels(source: str, root: Path) -> Labels:
    """Read the labels of subjects.

    A label is a subject's; one of runs or sessions cannot be given.

    Parameters
    ----------
    source : str
        `TABLE:COLUMN`, such as `participants.tsv:group`. The table names subjects in
        `participant_id`, and lies in the dataset, or else where its path leads.
    root : Path
        The dataset's folder.

    Raises
    ------
    DatasetError
        If there is no such table or column, or a subject has two labels.
    """
    name, _, column = source.rpartition(":")
    table = next((each for each in (root / name, Path(name)) if each.is_file()), None)
    if not name or not column or table is None:
        raise DatasetError(
            f"'{source}' names no labels",
            found=f"No table '{name}' in {root}" if name else "A table and a column are needed",
            do="Name both: participants.tsv:group",
        )
    columns = read_table(table)
    for each in (SUBJECT, column):
        if each not in columns:
            raise DatasetError(
                f"{table} has no column '{each}'",
                found=f"It has {', '.join(columns)}",
                do="Name another column, or another table",
            )
    of: dict[str, str] = {}
    for subject, cell in zip(columns[SUBJECT], columns[column], strict=True):
        plain, label = subject.strip().removeprefix("sub-"), cell.strip()
        if of.setdefault(plain, label) != label:
            raise DatasetError(
                f"{table} has two labels for sub-{plain}",
                found=f"'{of[plain]}' and '{label}' in '{column}'",
                do="Give each subject one: labels of runs or sessions cannot be told apart",
            )
    known = {subject: label for subject, label in of.items() if label.lower() not in UNKNOWN}
    return Labels(table, column, known, tuple(sorted(of.keys() - known.keys())))

"""Progress bars on stderr, so that stdout stays for results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, track

ItemT = TypeVar("ItemT")

console = Console(stderr=True)


def say(text: str) -> None:
    """Print a line on stderr."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def progress(
    items: Iterable[ItemT], description: str, *, total: int | None = None
) -> Iterable[ItemT]:
    """Yield the items while a bar shows how far along they are."""
    return track(items, description=description, total=total, console=console)


@contextmanager
def epochs_bar(total: int) -> Iterator[Callable[[int, float, float, float], None]]:
    """Show a bar over epochs, with training loss, validation loss and validation r."""
    with _bar("Training", "epoch ", total) as show_text:

        def show(epoch: int, loss: float, validation: float, r: float) -> None:
            of_r = f" r {r:.2f}" if isfinite(r) else ""
            show_text(epoch, f"loss {loss:.3f} validation {validation:.3f}{of_r}")

        yield show


@contextmanager
def trials_bar(total: int) -> Iterator[Callable[[int | None, str], None]]:
    """Show a bar over trials, and how far the one at hand is."""
    with _bar("Trials", "", total) as show:
        yield show


@contextmanager
def _bar(title: str, unit: str, total: int) -> Iterator[Callable[[int | None, str], None]]:
    """Show a bar, and give what moves it on and says how far that is."""
    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn(f"{unit}{{task.completed}}/{{task.total}} {{task.fields[reached]}}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total, reached="")

        def show(done: int | None, reached: str) -> None:
            bar.update(task, completed=done, reached=reached)

        yield show

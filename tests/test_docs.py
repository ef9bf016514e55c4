"""What the documents name exists, and what exists is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rtfeedback.cli import app

ROOT = Path(__file__).parent.parent
COMMANDS = [
    command.callback.__name__ for command in app.registered_commands if command.callback
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_and_has_help(command: str) -> None:
    assert f"rtfeedback {command}" in (ROOT / "README.md").read_text()
    callbacks = {c.callback.__name__: c.callback for c in app.registered_commands if c.callback}
    assert callbacks[command].__doc__


def test_every_command_of_the_readme_exists() -> None:
    named = re.findall(r"^\| `rtfeedback (\w+)", (ROOT / "README.md").read_text(), re.M)
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_link_to_a_file_leads_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([\w./-]+)\)", (ROOT / document).read_text()):
        assert (ROOT / target).exists(), target


def test_the_map_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = ("rtfeedback", *(f"rtfeedback/{name}" for name in ("online", "chain", "doctor")))
    packages += (
        "offline",
        *(
            str(p.parent)
            for p in ROOT.glob("offline/*/__init__.py")
            if p.parent.name != "simulation"
        ),
    )
    for path in (path for package in packages for path in (ROOT / package).glob("*.py")):
        if not path.stem.startswith("_"):
            assert re.search(rf"\b{path.stem}\b", text), path


@pytest.mark.parametrize("document", ["README.md", "Makefile"])
def test_every_make_target_that_is_named_exists(document: str) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    for named in re.findall(r"`make (\w+)`", (ROOT / document).read_text()):
        assert named in targets

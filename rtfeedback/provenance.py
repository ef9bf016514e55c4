"""What decides the last bits of a number: the packages' versions, and the machine."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("rtfeedback", "numpy", "scipy", "torch", "pylsl", "pyzmq")
_CPU = Path("/proc/cpuinfo")  # Linux's; elsewhere `platform` knows more


def versions() -> dict[str, str]:
    """Return the version of each package that takes part in a run."""
    return {name: version(name) for name in PACKAGES}


def machine(device: torch.device) -> dict[str, str]:
    """Return what a run computes on; `device` is the model's."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "device": name,
    }


def processor() -> str:
    """Return what this machine's processor calls itself."""
    try:
        lines = _CPU.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()

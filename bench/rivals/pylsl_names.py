"""Names that pylsl had before 1.17 and that timeflux and NeuXus still import."""

from __future__ import annotations

import pylsl


def restore() -> None:
    """Give pylsl its old names again; call it before a rival is imported."""
    pylsl.pylsl = pylsl
    pylsl.resolve_stream = pylsl.resolve_streams

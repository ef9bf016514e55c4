"""XDF 1.0, the format of LabRecorder, in both directions.

https://github.com/sccn/xdf/wiki/Specifications
"""

from rtfeedback.xdf.chunks import (
    Boundary,
    ClockOffset,
    FileHeader,
    Samples,
    StreamFooter,
    StreamHeader,
    XDFChunk,
)
from rtfeedback.xdf.reading import count_streams, read_chunks, whole_length

__all__ = [
    "Boundary",
    "ClockOffset",
    "FileHeader",
    "Samples",
    "StreamFooter",
    "StreamHeader",
    "XDFChunk",
    "count_streams",
    "read_chunks",
    "whole_length",
]

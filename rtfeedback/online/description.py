"""What a stream says of itself, as the XML that LSL streams and XDF files carry."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from rtfeedback.errors import StreamError
from rtfeedback.naming import name_channels, refuse_unnamed
from rtfeedback.signals import StreamInfo
from rtfeedback.xdf.chunks import parse_info


def parse(description: str) -> tuple[StreamInfo, tuple[str, ...]]:
    """Return what a stream's XML says, and what was done to its labels.

    Raises
    ------
    StreamError
        It is no XML or declares a document type, does not name each channel, or names two
        EEG channels alike.
    """
    try:
        root = parse_info(description)
    except ValueError as error:
        raise StreamError(
            "What the stream says of itself cannot be read",
            found=str(error).replace("its", "Its", 1),
            do="Take control characters out of the names and labels in the program that"
            " sends it, and restart that",
        ) from error
    # Some senders leave out the `channels` around them.
    channels = root.findall("desc/channels/channel") or root.findall("desc/channel")
    names = name_channels(
        [_below(c, "label") or _below(c, "name") for c in channels],
        [_below(c, "type") for c in channels],
        reference=_below(root, "desc/reference/label") or _below(root, "desc/reference"),
    )
    info = StreamInfo(
        name=_below(root, "name"),
        sfreq=float(_below(root, "nominal_srate")),
        channels=names.channels,
        kinds=names.kinds,
        units=tuple(_below(c, "unit") for c in channels),
        reference=names.reference,
        source_id=_below(root, "source_id"),
    )
    refuse_unnamed(info.name, int(_below(root, "channel_count")), names)
    return info, names.notes


def compose(info: StreamInfo, channel_format: str = "float32") -> str:
    """Return the XML of a stream that has none of its own; `parse` reads it."""
    root = _root(info.name, "EEG", len(info.channels), info.sfreq, channel_format)
    SubElement(root, "source_id").text = info.source_id
    description = SubElement(root, "desc")
    channels = SubElement(description, "channels")
    for label, kind, unit in zip(info.channels, info.kinds, info.units, strict=True):
        channel = SubElement(channels, "channel")
        SubElement(channel, "label").text = label
        SubElement(channel, "type").text = kind.upper()
        SubElement(channel, "unit").text = unit
    if info.reference:
        reference = SubElement(description, "reference")
        SubElement(reference, "label").text = info.reference
    return ElementTree.tostring(root, encoding="unicode")


def compose_markers(name: str) -> str:
    """Return the XML of a marker stream that has none of its own."""
    root = _root(name, "Markers", 1, 0.0, "string")
    return ElementTree.tostring(root, encoding="unicode")


def _root(name: str, kind: str, n_channels: int, sfreq: float, channel_format: str) -> Element:
    root = Element("info")
    SubElement(root, "name").text = name
    SubElement(root, "type").text = kind
    SubElement(root, "channel_count").text = str(n_channels)
    SubElement(root, "nominal_srate").text = repr(sfreq)
    SubElement(root, "channel_format").text = channel_format
    return root


def _below(node: ElementTree.Element, path: str) -> str:
    return (node.findtext(path) or "").strip()

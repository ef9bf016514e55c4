"""What is printed of what is published."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from rtfeedback.online.publisher import Publisher

FEEDBACK = {
    "seq": 7,
    "volume": 4,
    "value": None,
    "valid": False,
    "reason": "gap",
    "age_ms": 3.25,
    "flags": ["unskilled"],
}
VOXELS = b"\x00\x00\xc0\x7f"  # NaN: no JSON


def printed(endpoint: str, *options: str, publish: Callable[[Publisher], None]) -> list[str]:
    """Return what `listen` prints of what is published again and again until it ends."""
    command = [sys.executable, "-m", "rtfeedback", "listen", endpoint, *options]
    publisher = Publisher(endpoint)
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                publish(publisher)
                try:
                    process.wait(0.02)
                except subprocess.TimeoutExpired:
                    continue
            assert process.returncode == 0
            assert process.stdout is not None
            return process.stdout.read().splitlines()
    finally:
        publisher.close()


def a_volume_and_its_feedback(publisher: Publisher) -> None:
    publisher.send_frame("volume", b'{"seq": 7, "shape": [1, 1, 1]}', VOXELS)
    publisher.send("feedback", json.dumps(FEEDBACK).encode())


def test_a_line_says_whether_a_value_is_valid_and_why_not(free_port: int) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port}"
    [line] = printed(endpoint, "--count", "1", publish=a_volume_and_its_feedback)
    assert line == (
        "seq=7 volume=4 value=null valid=False reason=gap age_ms=3.2 flags=unskilled"
    )


def test_as_json_every_topic_is_told_a_volume_by_its_header(free_port: int) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port}"
    lines = printed(endpoint, "--json", "--count", "2", publish=a_volume_and_its_feedback)
    told = [json.loads(line) for line in lines]
    volumes, messages = (
        [each for each in told if each["topic"] == topic] for topic in ("volume", "feedback")
    )
    assert len(messages) == 2
    assert volumes
    assert all(each["shape"] == [1, 1, 1] and "frame" not in each for each in volumes)
    for each in messages:
        del each["topic"]
        assert each.pop("receive_time") > 0
        assert each == FEEDBACK

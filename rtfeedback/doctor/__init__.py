"""The pre-flight: what would refuse a run or spoil it, and what to do about that."""

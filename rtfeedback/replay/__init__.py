"""A recorded run, computed again: whether every published value and verdict is the same."""

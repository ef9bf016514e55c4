"""The commands, a function each; what they need is imported when they run."""

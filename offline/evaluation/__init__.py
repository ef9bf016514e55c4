"""Skill on what was held out: predicted, scored, tested against chance, reported."""

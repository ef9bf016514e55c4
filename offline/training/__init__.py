"""How models are fitted, and what is done to their training windows at random."""

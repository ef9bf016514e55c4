"""`python -m rtfeedback`."""

from rtfeedback.cli import main

main()

"""A checkpoint made to fit a new subject or day."""

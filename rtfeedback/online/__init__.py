"""The daemon: what runs beside the subject."""

"""Groups of subjects told apart by what is predicted of their EEG alone."""

"""When each volume of the BOLD began, by the EEG's clock, and how that is known."""

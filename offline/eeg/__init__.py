"""EEG at the desk: read as it would be on the wire, cleaned, and through the chain."""

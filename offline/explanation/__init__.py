"""What a model goes by: channels, frequencies and lags, attention, learnt filters."""

"""What runs at the desk: simulate, prepare, train, evaluate, play and the demo."""

"""What is for training, validation and test: whole runs, or times of each run."""

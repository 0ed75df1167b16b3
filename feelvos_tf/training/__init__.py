"""Training: a run, its steps, losses, optimizer, data and folder."""

"""Training samples: triplets of frames, their options and their augmentation."""

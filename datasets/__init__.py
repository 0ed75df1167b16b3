"""From video files, frame folders and public datasets to training triplets."""

"""Video files, read through FFmpeg's libraries (PyAV): see `reader`."""

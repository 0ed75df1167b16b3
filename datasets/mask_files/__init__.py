"""Masks of a frame in the forms that people and tools have; `reading` is the way in."""

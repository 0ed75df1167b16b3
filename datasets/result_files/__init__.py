"""Masks of a whole video in the forms that other tools read; `writing` is the way in."""

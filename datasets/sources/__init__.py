"""Data sets as they are on disk, and made-up ones; each yields `Video`s."""

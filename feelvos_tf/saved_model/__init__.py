"""An exported model: its signatures, its files, and reading it back."""

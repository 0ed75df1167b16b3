"""Shared by every command: errors and exit codes, progress, background work, flags."""

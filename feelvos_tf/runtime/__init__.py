"""What every command shares: errors and exit codes, progress, background work, flags."""

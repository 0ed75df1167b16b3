"""The network: its options, its parts, its weights files and the sizes it works at."""

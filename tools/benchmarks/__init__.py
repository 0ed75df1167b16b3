"""What the benchmarks share: cases, timing, curves, figures, clients of a server."""

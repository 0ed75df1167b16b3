"""Shared by the benchmarks: cases, timing, curves, figures, clients of a server."""

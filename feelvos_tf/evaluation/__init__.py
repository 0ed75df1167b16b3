"""Evaluation: measures, sequences, scoring, methods, tables and report."""

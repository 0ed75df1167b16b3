"""Serving exported FEELVOS models."""

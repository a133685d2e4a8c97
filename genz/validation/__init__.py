"""Predicted against measured: one scorer for kernels, collectives and whole requests."""

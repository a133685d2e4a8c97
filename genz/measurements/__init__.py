"""Measurements in the tidy schema: read, checked, and turned into the shapes that cost models take."""

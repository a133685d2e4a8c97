"""Inverse design: from a latency objective to the figures of the machine that meets it."""

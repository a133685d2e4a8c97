"""Closed forms: symbols in the place of numbers, expressions made readable, and where one thing overtakes another."""

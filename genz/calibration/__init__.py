"""Constants from measurements: measure this machine or import tables, fit, and write calibration files."""

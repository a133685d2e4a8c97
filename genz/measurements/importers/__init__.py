"""Measurements that other tools write, turned into the tidy schema; `read_any` tells the format by the content."""

from genz.measurements.importers.sniffing import read_any

__all__ = ["read_any"]

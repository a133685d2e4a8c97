"""Predict what a workload takes: prefill, decode, memory, energy, cost."""

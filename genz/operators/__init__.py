"""What one operator demands of a device: FLOPs, bytes and messages. Exact, and without any tuning."""

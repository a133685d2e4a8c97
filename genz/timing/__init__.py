"""What a demand takes on a chip: compute, memory, network, launch and host time."""

"""What an operator's kernel takes on a chip: physics, with a few constants fitted to measured silicon."""

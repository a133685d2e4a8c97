"""ModelSpec x Step x Parallelism x Widths x Engine -> the operators of a step, on one device."""

"""The machine at hand: what it is, how long its kernels take, and what power they draw."""

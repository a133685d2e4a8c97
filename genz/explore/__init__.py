"""Design spaces: sweeps, plans, inverse design, closed forms and sensitivities."""

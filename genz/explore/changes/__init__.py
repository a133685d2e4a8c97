"""Changes of one figure: what can be varied, what happens if it is, and the page that says so."""

"""`python -m genz.cli` is `genz`."""

from genz.cli import main

main()

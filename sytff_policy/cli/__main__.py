"""`python -m sytff_policy.cli`."""

from sytff_policy.cli import main

main()

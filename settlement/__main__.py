"""`python -m settlement` is the `settlement` command."""

from settlement.cli.main import main

main(prog_name="settlement")

"""``python -m terminal_sdk.cli``: the same as ``settlement-terminal``."""

from terminal_sdk.cli.main import main

if __name__ == "__main__":
    main(prog_name="settlement-terminal")

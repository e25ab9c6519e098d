"""The door from a checkout: `python cli.py` is the `segdata` command."""

from segdata.commands import main

if __name__ == "__main__":
    main()

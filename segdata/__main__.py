"""`python -m segdata` is the `segdata` command."""

from segdata.commands import main

if __name__ == "__main__":
    main()

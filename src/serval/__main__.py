"""`python -m serval`: the same command."""

from serval.cli import main

if __name__ == "__main__":
    main()

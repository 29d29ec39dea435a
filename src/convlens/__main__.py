"""`python -m convlens` runs the command line."""

from convlens.cli import main

if __name__ == "__main__":
    main()

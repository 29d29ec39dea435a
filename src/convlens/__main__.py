"""`python -m convlens` runs the command line."""

from convlens.cli import run

if __name__ == "__main__":
    run()

"""`python -m simdl`: the command line where no script is installed."""

from simdl.cli import main

if __name__ == "__main__":
    main()

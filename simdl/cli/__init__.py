"""The command `simdl`.

    program        the commands by name, loaded when they are called; errors and exit codes
    options        the options that commands share
    request        what was asked for: the scenario with its settings, its folder, the command that asks again
    terminal       what is printed
    interruption   Ctrl-C between the stages of a job
    one module for each command

`simdl --help` and `simdl list` import neither torch nor a scenario.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process, then exit with its code."""
    from simdl.cli.program import program

    program.main(prog_name="simdl")

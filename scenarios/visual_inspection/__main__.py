"""Study, pictures and training: `python -m simdl.scenarios.visual_inspection study --out folder`."""

import click

from simdl.scenarios.visual_inspection import commands


@click.group(cls=commands.Commands)
def main() -> None:
    """Parts on a conveyor, inspected by a network on a shared accelerator."""


for one in (commands.show, commands.study, commands.train, commands.transfer):
    main.add_command(one)


if __name__ == "__main__":
    main()

"""Write docs/reference.md: every command's own --help, in the order of the workflow.

Run `make docs` after a change of options; a test fails while the page is stale.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from segdata.commands import COMMANDS, group

PAGE = Path(__file__).with_name("reference.md")
HEAD = """# Commands

Made by `make docs` from each command's own `--help`. Shared by all: progress goes to stderr, results to stdout;
exit status 0 says all is done, 1 a fault in the data or the run (one line per file), 2 a mistake in the options.
"""


def helps(command: click.Command, name: str, parent: click.Context) -> Iterator[tuple[str, str]]:
    """Yield (whole name, help text) of a command and of the commands below it."""
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            below = command.get_command(context, child)
            assert below is not None
            yield from helps(below, child, context)


def reference() -> str:
    """Return the page as text."""
    context = click.Context(group, info_name="segdata", **group.context_settings)
    parts = [HEAD]
    for command_name in COMMANDS:
        command = group.get_command(context, command_name)
        assert command is not None
        for name, text in helps(command, command_name, context):
            level = "##" if name.count(" ") == 1 else "###"
            parts.append(f"{level} {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")

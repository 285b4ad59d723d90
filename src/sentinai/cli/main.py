"""Which commands are there?"""

import typer

from sentinai.cli import serve
from sentinai.cli.bench.run import bench

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Takes business exceptions from arrival to resolution.",
)
for command in (serve.up, serve.api, serve.worker, serve.migrate):
    app.command()(command)
app.command(hidden=True)(serve.setup)
app.command()(bench)


def main() -> None:
    app()


if __name__ == "__main__":
    main()

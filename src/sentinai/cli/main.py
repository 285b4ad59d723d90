"""Which commands are there?"""

import typer

from sentinai.cli import administration, audit, demo, doctor, exceptions, serve
from sentinai.cli.retention import retention

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Takes business exceptions from arrival to resolution.",
)
for command in (serve.up, serve.api, serve.worker, serve.migrate, serve.setup):
    app.command()(command)
app.command()(demo.demo)
app.command()(audit.rebuild)
app.add_typer(audit.log, name="log")
app.command()(doctor.doctor)
app.add_typer(exceptions.exceptions, name="exceptions")
app.add_typer(exceptions.approvals, name="approvals")
app.add_typer(administration.packs, name="packs")
app.add_typer(administration.tenants, name="tenants")
app.add_typer(administration.keys, name="keys")
app.add_typer(administration.dead_letters, name="dead-letters")
app.add_typer(audit.audit, name="audit")
app.add_typer(retention, name="retention")


def main() -> None:
    app()


if __name__ == "__main__":
    main()

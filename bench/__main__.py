"""`python -m bench`: what `make bench` runs."""

import typer

from bench.run import bench

if __name__ == "__main__":
    typer.run(bench)

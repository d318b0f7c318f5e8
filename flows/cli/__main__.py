"""python -m flows.cli COMMAND: as `idiom COMMAND`, where no program is installed."""

from flows.cli import app

if __name__ == "__main__":
    app()

"""`python -m sqgen`, and the `sqgen` command."""

import os


def main() -> None:
    """Run the command line; report an interrupt while modules load in one line too."""
    try:
        from .tools.cli import main as run

        run()
    except KeyboardInterrupt:
        os.write(2, b"sqgen: interrupted\n")
        os._exit(130)


if __name__ == "__main__":
    main()

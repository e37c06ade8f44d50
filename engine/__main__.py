"""`python -m sqgen.engine`, and the `sqgen-caffe` command."""

import os


def main() -> None:
    """Run the command line; report an interrupt during its imports in one line."""
    try:
        from .command import main as run

        run()
    except KeyboardInterrupt:
        os.write(2, b"sqgen-caffe: interrupted\n")
        os._exit(130)


if __name__ == "__main__":
    main()

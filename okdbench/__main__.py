"""``python -m okdbench`` is ``okdbench``."""

from okdbench.cli import main

if __name__ == "__main__":
    main()

"""``python -m synerdiff.cli`` is ``synerdiff``."""

from synerdiff.cli.main import main

if __name__ == "__main__":
    main()

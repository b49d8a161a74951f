"""`python -m aclnet`: the command `aclnet`."""

from aclnet.cli.main import main

if __name__ == "__main__":
    main()

"""`python -m backend.cli`, for processes that start one another by the interpreter they run in."""

from backend.cli import main

main()

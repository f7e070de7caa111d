"""The rules, pure: standard library only, no I/O; clock and randomness are passed in."""

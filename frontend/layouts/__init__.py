"""The frames around pages: the studio's shell, and the narrow one for signing in."""

"""The exception with a message for the user: what was wrong, where, and what is allowed."""


class UserError(Exception):
    """Wrong input from outside: a config, a file, a work directory. `app.py` prints it on one line and exits 1."""

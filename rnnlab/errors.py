"""The one exception whose message is meant for the user as it stands: what was wrong, where, and what is allowed."""


class UserError(Exception):
    """Wrong input from outside: a config, a file, a work directory. `app.py` prints it on one line and exits 1."""

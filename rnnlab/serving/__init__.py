"""A trained run behind HTTP on loopback, and the client that asks it for lines without importing jax.

`worker.py` owns the model and joins what waits; `request.py` reads and limits requests; `server.py` has the routes.
Imports `run` and below; `client.py` imports only `errors` and `lines`.
"""

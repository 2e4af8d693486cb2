"""From files to batches: a user's own files, TFDS builders, vocabularies, and the Grain pipeline with its length
buckets; and tasks with a known lag, drawn on the fly.

Imports nothing from the rest of rnnlab but `errors`, `extras` and `files`.
"""

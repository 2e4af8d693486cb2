"""From files to batches: TFDS builders, vocabularies, and the Grain pipeline with its length buckets.

Imports nothing from the rest of rnnlab but `errors`.
"""

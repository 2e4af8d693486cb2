"""rnnlab: recurrent cells, scans and encoder-decoder models in JAX.

Imports point one way: cells <- scan <- models <- decoding <- training <- launch.
`data`, `losses` and `metrics` stand aside and are imported by training and launch only.
"""

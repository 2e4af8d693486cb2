"""Cost of a recurrent layer in rnnlab and in every installed peer, each in its own process.

    python launch.py --config=configs/benchmark.py --workdir=runs/bench
    python launch.py --config=configs/benchmark.py:lengths --workdir=runs/lengths
    python launch.py --config=configs/benchmark.py:ragged --workdir=runs/ragged
    python launch.py --config=configs/benchmark.py:growth --workdir=runs/growth
    python launch.py --config=configs/benchmark.py:plans --workdir=runs/plans
    python launch.py --config=configs/benchmark.py:parallel --workdir=runs/parallel

The first compares implementations over 15 cases; "lengths" plots time, compile time and memory against length; "ragged"
measures time per real token for sentences of unequal lengths, in each way that an implementation can batch them;
"growth" fits the growth of time with length, batch, hidden units and layers; "plans" makes the table of `docs/scan.md`,
the basis of `rnnlab.scans.resolve_plan`; "parallel" makes that of `docs/parallel.md`: sequential against parallel in
time, up to 131,072 steps.
"""

from ml_collections import ConfigDict

from rnnlab.benchmark import default_config

_PRESETS = {
    "": {},
    "lengths": {
        "implementations": "rnnlab,rnnlab/sqrt,lax.scan,flax.nnx,torch",
        "cells": "lstm",
        "shapes": "16x64,256,1024,4096,8192x128",
    },
    "ragged": {
        "implementations": "rnnlab/packed,rnnlab/buckets,rnnlab,rnnlab/padded,torch,torch/buckets,torch/padded,"
        "flax.linen,flax.linen/buckets,flax.nnx",
        "shapes": "32x64x256 64x256x256 16x1024x128",
        "passes": "forward,training",
        "lengths": "text",
        "repeats": 5,
    },
    "growth": {
        "implementations": "rnnlab,flax.nnx,torch",
        "shapes": "32x64,128,256x256 8,16,64x128x256 32x128x64,128,512 32x128x256x2,4",
    },
    "plans": {
        "implementations": "rnnlab,rnnlab/step/16,rnnlab/step/64,rnnlab/step/all,rnnlab/block/64,rnnlab/block/all",
        "shapes": "1,4x1024x256 32x64x256 64x256x256 64x128x512 16x1024x128",
        "repeats": 8,
        "seconds": 10.0,
    },
    "parallel": {
        "implementations": "lax.scan,rnnlab,rnnlab/sequential,rnnlab/associative,rnnlab/associative/256,rnnlab/newton",
        "cells": "min_gru,lstm/diagonal,gru",
        "shapes": "1x1024,16384,131072x64",
        "repeats": 5,
        "seconds": 5.0,
    },
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns the defaults of `rnnlab.benchmark`, changed by a preset."""
    if preset not in _PRESETS:
        raise ValueError(
            f"configs/benchmark.py: unknown preset {preset!r}; allowed: {', '.join(filter(None, _PRESETS))}, or empty"
        )
    config = default_config()
    config.update(_PRESETS[preset])
    return config

import contextlib
import fcntl
import functools
import gc
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from unittest import mock

import jax
import pytest
from hypothesis import settings
from jax._src.interpreters import mlir
from ml_collections import ConfigDict

from rnnlab.tasks.seq2seq import samples
from rnnlab.training.compile_cache import use_compile_cache
from tests import tiny

# What tests compile is shared by their processes, and not left in the home of who runs them. Most of their time is
# compiling, so that what XLA's optimisations save is less than what they take.
_CACHE = pathlib.Path(tempfile.gettempdir()) / "rnnlab_tests"
os.environ |= {"XDG_CACHE_HOME": str(_CACHE), "JAX_COMPILATION_CACHE_DIR": str(_CACHE / "xla")}
# Nor does anyone look up the lines of code that a program was lowered from.
_FASTER_JAX = {"jax_disable_most_optimizations": True, "jax_traceback_in_locations_limit": 0}
for _name, _value in _FASTER_JAX.items():
    jax.config.update(_name, _value)
    os.environ[_name.upper()] = str(int(_value))  # of the processes that tests start
use_compile_cache()

# XLA's older code generator for CPUs, in one module a program, compiles in half the time. A jaxlib without them ends a
# process that asks for them.
_FASTER = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if _FASTER not in os.environ.get("XLA_FLAGS", ""):  # a process of pytest-xdist has them from the first one
    asked = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_FASTER}"}
    start = [sys.executable, "-c", "import jax; jax.devices()"]
    if subprocess.run(start, env=os.environ | asked, capture_output=True).returncode == 0:
        os.environ |= asked

# jax makes an MLIR context, with the operations of all its dialects, for each program: 3 of the 16 ms that an
# addition takes. One for all is not for a long process, which would never forget a constant.
_make_context = getattr(mlir, "make_ir_context", None)
if _make_context:
    mlir.make_ir_context = functools.cache(_make_context)

gc.set_threshold(100_000, 50, 50)  # of the many objects of jax few can be collected, and looking takes a tenth

settings.register_profile("untimed", deadline=None)  # a busy machine makes no test fail
settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Gives each file of tests to one process, where its fixtures are made once and its programs compiled once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


_MAPS = pathlib.Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def _few_programs():
    """Forgets what was compiled when it is much: each program is mapped into memory, and Linux allows 65,530 maps."""
    yield
    if not _MAPS.exists() or _MAPS.read_bytes().count(b"\n") > 15_000:
        jax.clear_caches()


_DRAW = samples._draw_attention


@pytest.fixture(scope="session", autouse=True)
def _no_pictures():
    """Skips what takes longer to draw than a tiny run to train; subprocesses draw it, and tests of what is drawn."""
    with (
        mock.patch("rnnlab.training.report.plot_curves"),
        mock.patch("rnnlab.training.report.write_page"),
        mock.patch.object(samples, "_draw_attention", return_value={}),
    ):
        yield


@contextlib.contextmanager
def _once(name: str, tmp_path_factory) -> Iterator[tuple[pathlib.Path, bool]]:
    """Yields a folder that all processes of the tests share, and whether it is there; the others wait meanwhile."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, folder.exists()


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """The folder of the data of `tiny_config`."""
    with _once("tiny", tmp_path_factory) as (folder, there):
        if not there:
            folder.mkdir()
            tiny.write_data(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_config(tiny_data):
    """`(field=value, ...) -> config` of an experiment that spells words and is trained in seconds."""

    def make(**fields) -> ConfigDict:
        config = tiny.get_config(str(tiny_data))
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
        return config

    return make


@pytest.fixture(scope="session")
def trained(tiny_config, tmp_path_factory):
    """A work directory that knows how to spell."""
    from rnnlab.training.loop import train

    config = tiny_config(training__steps=400, training__evaluate_every=200, training__learning_rate=1e-2)
    config.evaluation.samples = 10
    with _once("trained", tmp_path_factory) as (workdir, there):
        if not there:
            with mock.patch.object(samples, "_draw_attention", _DRAW):
                train(config, workdir)
    return workdir

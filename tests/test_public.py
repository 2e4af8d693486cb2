"""What a user of the installed package meets: its names, its command, and what they import."""

import ast
import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

import rnnlab
from rnnlab import command
from rnnlab.data import lag_problems
from rnnlab.data.corpus import Corpus
from rnnlab.errors import UserError
from rnnlab.extras import needs

ROOT = pathlib.Path(__file__).parents[1]
HEAVY = ("tensorflow_datasets", "grain", "orbax", "matplotlib", "sklearn", "PIL", "sacrebleu", "tensorboardX", "spacy")
LAUNCH, MODULE = [str(ROOT / "launch.py")], ["-m", "rnnlab"]


def _python(*arguments, cwd=ROOT):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, env=environment)


def test_a_public_name_is_that_of_its_module():
    assert set(rnnlab.__all__) == set(rnnlab._HOMES) <= set(dir(rnnlab))
    for module in ("cells", "scans", "models", "testing", "run"):
        home = importlib.import_module(f"rnnlab.{module}")
        for name in set(rnnlab.__all__) & set(vars(home)):
            assert getattr(rnnlab, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="no attribute 'scam'"):
        rnnlab.scam  # noqa: B018


def test_importing_the_package_imports_nothing_else_and_its_names_no_package_of_training():
    code = f"""
import sys
before = set(sys.modules)
import rnnlab
print([name for name in set(sys.modules) - before if name in ("jax", "numpy", "flax", "absl")])
for name, home in rnnlab._HOMES.items():
    if home != "rnnlab.run":
        getattr(rnnlab, name)
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = _python("-c", code)
    assert done.stdout == "[]\n[]\n", done.stderr


def test_the_library_imports_only_what_it_is_installed_with():
    lines = (ROOT / "requirements" / "base.txt").read_text().splitlines()
    allowed = {re.split("[<>=]", line)[0] for line in lines if not line.startswith("#")} | {"rnnlab"}
    folders = ("cells", "scans", "models", "gradient_flow", "testing")
    paths = [path for folder in folders for path in (ROOT / "rnnlab" / folder).rglob("*.py")]
    paths += [ROOT / "rnnlab" / name for name in ("__init__.py", "__main__.py", "extras.py", "losses.py")]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            others = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - allowed
            assert not others, f"{path}: {others}"


@pytest.mark.parametrize("config", ["cmudict", "multi30k_3", "gradient_flow"])
def test_a_mistyped_field_is_found_before_jax_or_a_package_of_training_is_imported(config):
    code = f"""
import sys
sys.argv = ["rnnlab", "--config=configs/{config}.py", "--workdir=x", "--config.experimint=1"]
from rnnlab.__main__ import main
print(main(), [name for name in ("jax", *{HEAVY}) if name in sys.modules])
"""
    done = _python("-c", code)
    assert done.stderr == "error: --config.experimint: unknown field; nearest: --config.experiment\n"
    assert done.stdout == "1 []\n"


@pytest.mark.parametrize("program", [LAUNCH, MODULE])
def test_a_config_is_the_users_own_file_or_else_the_one_that_came_with_rnnlab(tmp_path, program):
    flags = ["--workdir=x", "--config.seed.x=1"]
    shipped = "error: --config.seed.x: unknown field; --config.seed is a single value\n"
    assert _python(*program, "--config=configs/multi30k_2.py", *flags, cwd=tmp_path).stderr == shipped
    assert _python(*program, "--config", "configs/cmudict.py", *flags, cwd=tmp_path).stderr == shipped
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "cmudict.py").write_text("def get_config():\n    raise ValueError('my own')\n")
    assert (
        _python(*program, "--config=configs/cmudict.py", *flags, cwd=tmp_path).stderr == "error: ValueError: my own\n"
    )
    assert "configs/none.py" in _python(*program, "--config=configs/none.py", *flags, cwd=tmp_path).stderr


def test_the_command_shows_its_own_flags_and_docstring():
    for program in (LAUNCH, MODULE):
        shown = _python(*program, "--help").stdout
        assert "--workdir" in shown
        assert "--config=configs/cmudict.py --workdir=runs/g2p" in shown


@pytest.mark.parametrize("program", [["launch.py"], ["-m", "rnnlab"], ["-X", "dev", "/usr/bin/rnnlab"]])
def test_a_sweep_starts_its_runs_as_it_was_started(monkeypatch, program):
    flags = ["--config=c.py", "--sweep", "seed=0,1", "--workdir=x", "--config.seed=3"]
    monkeypatch.setattr(sys, "orig_argv", ["python", *program, *flags])
    monkeypatch.setattr(sys, "argv", ["rnnlab", *flags])
    assert command.command_of_a_run() == [sys.executable, *program, "--config=c.py", "--config.seed=3"]


def test_without_the_packages_of_training_the_command_says_in_one_line_what_to_install():
    code = "import sys; sys.modules['absl'] = None; from rnnlab.__main__ import main; print(main())"
    done = _python("-c", code)
    assert done.stdout == "1\n"
    assert done.stderr.startswith("error: the command rnnlab needs the package absl of the extra 'train'")
    assert done.stderr.endswith("pip install '.[train]'\n")
    assert done.stderr.count("\n") == 1


def test_a_task_whose_images_are_of_a_package_that_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    lag_problems._load_digits.cache_clear()
    with pytest.raises(UserError, match=r"problem 'digits' needs the package sklearn .* pip install '\.\[lab\]'"):
        lag_problems.digits(8)


def test_only_the_sets_of_tfds_need_tfds(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert len(Corpus("cmudict").read("validation")) > 2000
    with pytest.raises(UserError, match=r"'ted_hrlr_translate/pt_to_en' needs .* pip install '\.\[tfds\]'"):
        Corpus("ted_hrlr_translate/pt_to_en")


def test_a_module_of_rnnlab_that_is_missing_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError, match="nowhere"), needs("train", "it"):
        importlib.import_module("rnnlab.nowhere")

"""The pages of the documentation: their Python runs, their commands name what there is, their links lead somewhere."""

import importlib
import pathlib
import re
import shlex

import jax
import jax.numpy as jnp
import pytest

from configs import cmudict
from rnnlab import CELLS, app
from rnnlab.config import get_field

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def _commands() -> list[tuple[str, list[str]]]:
    """Every `python launch.py ...` of a page, in a block of its own or within a sentence, as words."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        within = [" ".join(quoted.split()) for quoted in re.findall(r"`(python launch\.py [^`]*)`", text)]
        lines = re.sub(r"\\\n\s*", " ", text).splitlines()
        alone = [line for line in lines if re.match(r"( {4})?(python|\S*bin/python) launch\.py ", line)]
        for command in within + alone:
            if "…" not in command:  # a sketch, not a command
                found.append((page, shlex.split(command.partition("   #")[0], comments=True)[2:]))
    return found


def test_there_are_commands():
    assert len(_commands()) > 60


@pytest.mark.parametrize(("page", "words"), _commands(), ids=lambda given: given if isinstance(given, str) else "")
def test_every_flag_and_field_of_a_command_exists(page, words):
    config = None
    compared = [word for word in words if not word.startswith("-")] if "--mode=compare" in words else []
    for word in words[: words.index("<")] if "<" in words else words:
        if word in compared:  # a work directory
            continue
        name, _, value = word.removeprefix("--").partition("=")
        if name == "config":
            path, _, argument = value.partition(":")
            module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
            config = module.get_config(*[argument] * bool(argument))
        elif name.startswith("config."):
            get_field(config, name.removeprefix("config."))
        else:
            assert name in app.flags.FLAGS, (page, word)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "page", ["README.md", "docs/cells.md", "docs/parallel.md", "docs/tutorial.md", "docs/tutorial.ko.md"]
)
def test_python_of_a_page_runs(page, trained, tmp_path, monkeypatch):
    """Beside a run in `runs/g2p`, and where a page begins in the middle with a cell and what it takes."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "g2p").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    cell = CELLS["gru"]
    names = {"cell": cell, "params": cell.init(jax.random.key(0), 3, 4), "inputs": jnp.ones((4096, 1, 3))}
    for block in _blocks(page, "python"):
        exec(compile(block, page, "exec"), names)


@pytest.mark.nightly
def test_python_of_the_usage_page_runs(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cmudict, "get_config", lambda: tiny_config(training__steps=5, evaluation__samples=0))
    (block,) = _blocks("docs/usage.md", "python")
    exec(compile(block, "docs/usage.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (ROOT / page).parent.joinpath(target).exists(), target

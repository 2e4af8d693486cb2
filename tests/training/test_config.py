import pathlib

import pytest
from absl import flags
from ml_collections import config_flags

from rnnlab.benchmark import cases
from rnnlab.config import check_fields, each_field, field_paths, get_field, make_config
from rnnlab.errors import UserError
from rnnlab.flow_lab import config as lab
from rnnlab.tasks.lag import task as lag
from rnnlab.tasks.language_model import config as language_model
from rnnlab.tasks.seq2seq.config import FIELDS, check_ranges, default_config, resolve_paths
from tests import tiny

ALL = {"seq2seq": FIELDS, "lag": lag.FIELDS, "lm": language_model.FIELDS, "benchmark": cases.FIELDS, "lab": lab.FIELDS}


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("training.steps", 0, "above 0"),
        ("training.batch_size", -1, "above 0"),
        ("model.encoder.dropout", 1.0, "from 0 to below 1"),
        ("training.label_smoothing", -0.1, "from 0 to below 1"),
        ("model.decoder.zoneout_cell", 1.0, "from 0 to below 1"),
        ("training.average_decay", 1.0, "from 0 to below 1"),
        ("evaluation.average", 0, "above 0"),
        ("training.clip_global_norm", -1.0, "0 or above"),
        ("training.learning_rate", float("nan"), "finite"),
        ("evaluation.length_penalty", float("inf"), "finite"),
        ("seed", 2**40, "2,147,483,647 at most"),
        ("data.name", "a\0b", "printable"),
        ("model.encoder.layers", 101, "100 at most"),
        ("data.source.size", -3, "above 0"),
        ("data.target.size", 0, "above 0"),
        ("data.target.size", 2**31 - 1, "1,000,000 at most"),
        ("data.source.min_count", 0, "above 0"),
        ("training.spike", 1.0, "0 or above 1"),
        ("training.learning_rate", 1e300, r"from 1e-30 to 1e\+30"),
        ("evaluation.temperature", 1e-300, r"from 1e-30 to 1e\+30"),
    ],
)
def test_a_number_that_no_run_can_use_is_refused_by_its_path(field, value, allowed):
    config = default_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=rf"config\.{field}: .*{allowed}"):
        check_ranges(config)


def test_a_coverage_penalty_needs_attention():
    config = default_config()
    config.evaluation.coverage_penalty = 0.1
    check_ranges(config)
    config.model.attention = "none"
    with pytest.raises(UserError, match=r"coverage_penalty: 0\.1 is not allowed with config\.model\.attention='none'"):
        check_ranges(config)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("a.de,b.en", "a.de,b.en"),
        ("my file.tsv", "my file.tsv"),
        ("['a,b.de', 'c.en']", ["a,b.de", "c.en"]),
        ("('a,b.tsv',)", ("a,b.tsv",)),
        ("[odd.tsv", "[odd.tsv"),
    ],
)
def test_files_are_given_as_a_text_or_a_list_also_on_the_command_line(given, wanted):
    for arguments in ([f"--config.data.files.train={given}"], ["--config.data.files.train", given]):
        argv = ["launch.py", f"--config={tiny.__file__}:x", *arguments]
        alone = flags.FlagValues()
        holder = config_flags.DEFINE_config_file("config", None, "", flag_values=alone, sys_argv=argv)
        assert alone(argv) == ["launch.py"]
        assert holder.value.data.files.train == wanted
    config = default_config()
    config.data.files.train = wanted
    with pytest.raises(TypeError):
        config.data.files.train = 3


def test_paths_become_absolute_in_every_form(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = default_config()
    config.data.files.update({"train": "a.de, b.en", "validation": ["a,b.de", "~/c.en"], "test": ""})
    config.data.directory = "d"
    resolve_paths(config)
    home = pathlib.Path.home()
    assert config.data.files.to_dict() == {
        "train": f"{tmp_path}/d/a.de,{tmp_path}/d/b.en",
        "validation": [f"{tmp_path}/d/a,b.de", f"{home}/c.en"],
        "test": "",
    }
    assert (config.data.directory, config.data.prepared) == (f"{tmp_path}/d", "")
    before = config.to_dict()
    monkeypatch.chdir("/")
    resolve_paths(config)
    assert config.to_dict() == before


def test_the_defaults_are_in_range_and_no_field_can_be_added():
    config = default_config()
    check_ranges(config)
    with pytest.raises(AttributeError):
        config.training.stepz = 3


def test_the_field_names_that_others_rely_on_are_there():
    wanted = {"seed", "model.attention", "model.context", "training.clip_global_norm", "training.learning_rate"}
    wanted |= {f"model.{side}.{name}" for side in ("encoder", "decoder") for name in ("cell", "features", "layers")}
    wanted |= {"training.steps", "training.batch_size", "data.name", "data.files.train"}
    assert wanted <= set(field_paths(default_config()))
    assert get_field(default_config(), "model.encoder.cell") == "lstm"


@pytest.mark.parametrize(
    "fields", [FIELDS, lag.FIELDS, cases.FIELDS, lab.FIELDS], ids=["seq2seq", "lag", "benchmark", "lab"]
)
def test_every_number_has_a_range_that_refuses_what_no_run_can_use(fields):
    """Without a range, a value that is negative or too large for float32 ends in an error of a library, or in none."""
    config = make_config(fields)
    check_fields(config, fields)
    for field in field_paths(config):
        usual = get_field(config, field)
        for value in {int: (-1, -(2**31), 2**31), float: (-1.0, 1e39, 1e-46)}.get(type(usual), ()):
            config.update_from_flattened_dict({field: value})
            with pytest.raises(UserError, match=rf"config\.{field}: .* is not allowed; it must be"):
                check_fields(config, fields)
            config.update_from_flattened_dict({field: usual})


@pytest.mark.parametrize(
    "fields", [FIELDS, lag.FIELDS, cases.FIELDS, lab.FIELDS], ids=["seq2seq", "lag", "benchmark", "lab"]
)
def test_every_field_says_what_it_means(fields):
    assert [path for path, field in each_field(fields) if not field.meaning] == []

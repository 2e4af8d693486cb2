import logging

from tests import fuzz


def test_any_config_begins_or_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", False)
    ended = fuzz.fuzz_configs(12, tmp_path)
    assert sum(ended.values()) >= 12
    assert ended["refused"]


def test_any_data_file_is_read_or_is_refused_in_one_line(tmp_path):
    ended = fuzz.fuzz_data(25, tmp_path)
    assert sum(ended.values()) >= 25
    assert ended["refused"]
    assert ended["began"]

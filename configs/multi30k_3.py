"""draft"""

from ml_collections import ConfigDict

from configs import multi30k_1


def get_config() -> ConfigDict:
    """Model 1's data and training; one layer of GRU, read both ways, with additive attention."""
    config = multi30k_1.get_config()
    config.model.encoder.update({"cell": "gru", "layers": 1, "bidirectional": True})
    config.model.decoder.update({"cell": "gru", "layers": 1})
    config.model.update({"attention": "additive", "bridge": "dense"})
    return config

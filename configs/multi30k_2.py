"""draft"""

from ml_collections import ConfigDict

from configs import multi30k_1


def get_config() -> ConfigDict:
    """Model 1's data and training; one layer of GRU on each side, the context in every step and in the output layer."""
    config = multi30k_1.get_config()
    stack = {"cell": "gru", "layers": 1}
    config.model.encoder.update(stack)
    config.model.decoder.update(stack)
    config.model.context = "every_step"
    return config

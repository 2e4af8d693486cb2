"""A run of the lab that is done in seconds."""

from rnnlab.flow_lab.runs import Setting

SETTING = Setting(
    cell="rnn",
    intervention="default",
    clipping="none",
    task="adding",
    lag=8,
    features=8,
    batch_size=8,
    optimizer="adam",
    learning_rate=0.001,
    steps=50,
    solved=0.0,
    measure_every=50,
)

"""What a task shows of a finished run: samples, which are printed, and pictures. Imports nothing from rnnlab."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Sample(NamedTuple):
    """A prediction of a finished run, to be shown.

    Attributes:
      input: the input, or its start or place; empty if the model writes without one.
      predicted: the output.
      references: the correct outputs, if they are known.
      right: whether the output is one of them; None where equality means nothing.
    """

    input: str
    predicted: str
    references: Sequence[str] = ()
    right: bool | None = None

    @classmethod
    def compared(cls, input: str, predicted: str, references: Sequence[str]) -> "Sample":
        """Makes a sample whose output must equal a reference."""
        return cls(input, predicted, references, predicted in references)

    def __str__(self) -> str:
        if not self.input:
            return f"{self.predicted}\n"
        reference = "" if self.right or not self.references else f"   (reference: {' | '.join(self.references)})"
        return f"{self.input} -> {self.predicted}{reference}"


class Shown(NamedTuple):
    """What a task shows of a finished run.

    Attributes:
      samples: predictions of the test split, or of validation without one.
      pictures: file names in the work directory, with their captions.
    """

    samples: Sequence[Sample] = ()
    pictures: Mapping[str, str] = {}

"""Downloads of datasets that end soon where there is no network."""

import contextlib
from collections.abc import Iterator
from unittest import mock

import requests
from tensorflow_datasets.core.download import downloader
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from rnnlab.errors import UserError

_PATIENCE = 5.0  # seconds that a silent server gets, twice; tfds by itself tries for over three minutes


@contextlib.contextmanager
def short_patience(field: str, name: str) -> Iterator[None]:
    """Within it a server that cannot be reached, or says nothing, ends in a UserError after `_PATIENCE` twice; so does
    a file that is not the published one.

    Args:
      field: of the config, that names the dataset; name: the dataset.
    """
    send = requests.Session.send

    def impatient_send(session, request, **options):
        return send(session, request, **(options | {"timeout": options.get("timeout") or _PATIENCE}))

    try:
        with (
            mock.patch.object(downloader, "MAX_RETRIES", 1),
            mock.patch.object(requests.Session, "send", impatient_send),
        ):
            yield
    except NonMatchingChecksumError as error:
        told = str(error).strip().splitlines()[0]
        raise UserError(f"{field}: dataset {name!r}: not the published file (checksum): {told}") from None
    except OSError as error:  # what requests and urllib raise
        raise UserError(f"{field}: dataset {name!r} cannot be reached or written: {error}") from None

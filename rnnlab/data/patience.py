"""Downloads of datasets that fail quickly without a network."""

import contextlib
import pathlib
from collections.abc import Iterator

import requests
import tensorflow_datasets as tfds
from requests.adapters import HTTPAdapter
from tensorflow_datasets.core.download import checksums, downloader
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from rnnlab.errors import UserError

_PATIENCE = 5.0  # seconds to wait for a silent server, twice; by default tfds tries for over three minutes
_BLOCK = 2**20  # bytes


class _Downloader(downloader._Downloader):
    """TFDS's downloader of files, with a time limit for downloads from the web, which TFDS lacks."""

    def _sync_download(self, url: str, destination_path: pathlib.Path, verify: bool = True):
        if not url.startswith("http") or downloader._DRIVE_URL.match(url):
            return super()._sync_download(url, destination_path, verify)
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=1))
            with session.get(url, stream=True, timeout=_PATIENCE, verify=verify) as response:
                response.raise_for_status()
                path = destination_path / downloader._get_filename(response)
                with path.open("wb") as file:
                    for block in response.iter_content(_BLOCK):
                        file.write(block)
        self._pbar_url.update(1)
        return downloader.DownloadResult(path, checksums.compute_url_info(path))


def download_impatiently(builder: tfds.core.DatasetBuilder) -> None:
    """Makes a builder's download fail with an OSError after a server has been silent for `_PATIENCE`, twice."""
    make_manager = builder._make_download_manager

    def make_impatient_manager(**options):
        manager = make_manager(**options)
        manager._DownloadManager__downloader = _Downloader()
        return manager

    builder._make_download_manager = make_impatient_manager


@contextlib.contextmanager
def one_line_where_out_of_reach(field: str, name: str) -> Iterator[None]:
    """Opens or prepares a dataset in its body.

    Args:
      field: the config field of the dataset; name: the dataset.

    Raises:
      UserError: it cannot be reached or written, or a file of it is not the published one.
    """
    try:
        yield
    except NonMatchingChecksumError as error:
        told = str(error).strip().splitlines()[0]
        raise UserError(f"{field}: dataset {name!r}: not the published file (checksum): {told}") from None
    except OSError as error:  # what requests and urllib raise
        raise UserError(f"{field}: dataset {name!r} cannot be reached or written: {error}") from None

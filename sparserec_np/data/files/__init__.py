"""Files of interactions, read by DuckDB: CSV and its relatives, JSON lines and Parquet.

One module for each step: :mod:`~sparserec_np.data.files.paths` lists the files,
:mod:`~sparserec_np.data.files.remote` those of stores behind URLs;
:mod:`~sparserec_np.data.files.inspection` tells format and compression,
:mod:`~sparserec_np.data.files.detection` the dialect of text,
:mod:`~sparserec_np.data.files.dialect` splits its lines;
:mod:`~sparserec_np.data.files.scan` makes SQL of each file,
:mod:`~sparserec_np.data.files.staging` a verdict on each row,
:mod:`~sparserec_np.data.files.numbering` numbers of the ids.
"""

from __future__ import annotations

from sparserec_np.data.files.paths import list_files
from sparserec_np.data.files.reading import read

__all__ = ["list_files", "read"]

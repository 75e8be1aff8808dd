"""Interactions from files, by DuckDB: CSV and its relatives, JSON lines and Parquet.

A file passes through these modules, in this order:

- ``paths`` lists files, ``remote`` those behind URLs;
- ``inspection`` finds format and compression, and refuses files that are not what their names say;
- ``detection`` finds delimiter, quotes, header and comments of text, ``dialect`` splits its lines;
- ``scan`` makes an SQL relation of a file of any format;
- ``staging`` gives each row a verdict, which may be that an id is missing;
- ``numbering`` turns ids into numbers, ``reading`` has the whole of it.
"""

from __future__ import annotations

from sparserec_np.data.files.paths import list_files
from sparserec_np.data.files.reading import read

__all__ = ["list_files", "read"]

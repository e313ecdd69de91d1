# SPDX-License-Identifier: Apache-2.0
"""Tables as datasets come in: JSON, CSV and Parquet, with errors that name the column that was meant.

Everybody has once pointed a converter at the wrong file. Which columns a file lacks, and which of its own are like
them, is said before anything is written.
"""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from edgevlm_ros.datasets.clip import DatasetError
from edgevlm_ros.nearest import nearest

Row = dict[str, Any]


def read_json(path: Path) -> Any:
    """The whole file. Raises DatasetError."""
    try:
        return json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is no JSON ({error}); download or unpack it again") from error


def json_rows(path: Path, columns: Collection[str]) -> list[Row]:
    """The rows of a JSON list of objects. Raises DatasetError."""
    return checked_rows(path, read_json(path), columns)


def csv_rows(path: Path, columns: Collection[str]) -> list[Row]:
    """Rows by the names of the first line; cells that are missing are empty. Raises DatasetError."""
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not UTF-8 ({error.reason}); save it as UTF-8") from error
    reader = csv.DictReader(text.splitlines(keepends=True), restval="", strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        _check_columns(path, names, columns)
        reader.fieldnames = names
        return [{name: cell for name, cell in row.items() if name is not None} for row in reader]
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: is no CSV ({error})") from error


def parquet_rows(path: Path, columns: Collection[str]) -> list[Row]:
    """Needs pyarrow, which nothing else here does. Raises DatasetError."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"{path}: reading Parquet needs pyarrow: pip install pyarrow (or give the same rows as .json)"
        ) from error
    _bytes(path, 4)
    try:
        rows = parquet.read_table(path).to_pylist()
    except Exception as error:  # pyarrow's own kinds, which are not here to be named
        raise DatasetError(f"{path}: is no Parquet ({error}); download it again") from error
    return checked_rows(path, rows, columns)


def checked_rows(path: Path, rows: Any, columns: Collection[str]) -> list[Row]:
    """The rows, if they are objects that have these columns; else raises DatasetError."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DatasetError(f"{path}: is not a list of objects with {', '.join(columns)}")
    for row in rows:
        _check_columns(path, row, columns)
    return rows


def by_token(rows: Iterable[Row]) -> dict[str, Row]:
    """As nuScenes' tables refer to each other."""
    return {row["token"]: row for row in rows}


def _check_columns(path: Path, there: Collection[str], wanted: Collection[str]) -> None:
    missing = [name for name in wanted if name not in there]
    if missing:
        like = nearest(missing[0], [str(name) for name in there])
        meant = f"; is {like[0]!r} what should be called so?" if like else ""
        raise DatasetError(f"{path}: has no {missing[0]!r}{meant} It has {', '.join(map(str, there)) or 'nothing'}")


def _bytes(path: Path, most: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        beside = nearest(path.name, [each.name for each in path.parent.iterdir()]) if path.parent.is_dir() else []
        meant = f"; did you mean {beside[0]!r}?" if beside else ""
        raise DatasetError(f"{path}: cannot be read ({error.strerror}){meant}") from error

"""The first sheet of an Excel file as a table with commas."""

from __future__ import annotations

import csv
import io
import warnings
import zipfile

from aclnet.datasets.formats.files import UNSOUND
from aclnet.datasets.spec import AclnetError, DamageError, shown

_MAX_CELLS, _MAX_ROWS = 2**22, 2**20
"""Limits of a sheet; Excel itself allows 2**20 rows."""
_CELLS_PARTS = ("xl/worksheets/", "xl/sharedStrings.xml")
"""Parts that grow with the table; they are read piece by piece."""
_MAX_CELLS_BYTES, _MAX_OTHER_BYTES = 2**26, 2**21
"""Limits of the decompressed parts. An index of 100,000 rows takes 30 MB, styles some kilobytes."""


def sheet_to_csv(data: bytes) -> str:
    """Text with a line for each row, empty rows too, so that lines are counted as in the sheet.

    Formulas count as the values that the file stores for them. Raises DamageError if it is not such
    a file or would take much memory, and AclnetError if the package that reads it is not installed.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise AclnetError(
            "Excel files need a further package: pip install 'aclnet[excel]'. Or save the table "
            "as .csv"
        ) from None
    _check_parts(data)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    cells = rows = 0
    try:
        # warnings about styles, which are not needed here
        with warnings.catch_warnings(action="ignore"):
            workbook = load_workbook(
                io.BytesIO(data), read_only=True, data_only=True, keep_links=False
            )
            for row in workbook.worksheets[0].iter_rows(values_only=True):
                cells += len(row)
                rows += 1  # a row with a high number comes with all rows before it
                if cells > _MAX_CELLS or rows > _MAX_ROWS:
                    raise DamageError(
                        f"more than {_MAX_CELLS:,} cells, or {_MAX_ROWS:,} rows; save the table as "
                        ".csv"
                    )
                table.writerow([_text(value) for value in row])
    except DamageError:
        raise
    except Exception as error:  # openpyxl raises many kinds of exceptions on damaged files
        raise _no_excel(error) from None
    return text.getvalue()


def _check_parts(data: bytes) -> None:
    """Raises DamageError, before reading, for parts that would fill memory or have entities."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            large = [m for m in members if m.filename.startswith(_CELLS_PARTS)]
            size = sum(member.file_size for member in large)
            if size > _MAX_CELLS_BYTES:
                raise DamageError(f"a table of {size:,} bytes; save it as .csv")
            others = sum(member.file_size for member in members) - size
            if others > _MAX_OTHER_BYTES:
                raise DamageError(
                    f"{others:,} bytes beside the table (pictures, styles); save the table as .csv"
                )
            for member in members:
                # Excel writes no such declaration. In UTF-16 there are zeros between its letters.
                if b"<!DOCTYPE" in archive.read(member).replace(b"\0", b""):
                    raise DamageError(f"{shown(member.filename)} has a document type declaration")
    except UNSOUND as error:
        raise _no_excel(error) from None


def _no_excel(error: Exception) -> DamageError:
    return DamageError(f"not a readable Excel file: {shown(error, 300)}")


def _text(value: object) -> str:
    """Text of a cell. A number without a fraction is written without a point."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)

"""The first sheet of an Excel file as a table with commas."""

from __future__ import annotations

import csv
import io
import zipfile

from aclnet.datasets.spec import AclnetError, DamageError

_MAX_CELLS = 2**22


def sheet_to_csv(data: bytes) -> str:
    """Text with a line for each row, empty rows too, so that lines are counted as in the sheet.

    Formulas count as the values that the file has for them. DamageError where it is no such file;
    AclnetError where the package that reads it is not installed.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise AclnetError(
            "Excel files need a further package: pip install 'aclnet[excel]'; or save the table "
            "as .csv"
        ) from None
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    cells = 0
    try:
        workbook = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        for row in workbook.worksheets[0].iter_rows(values_only=True):
            cells += len(row)
            if cells > _MAX_CELLS:
                raise DamageError(f"more than {_MAX_CELLS:,} cells")
            table.writerow([_text(value) for value in row])
    except DamageError:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, IndexError, SyntaxError) as error:
        raise DamageError(f"no Excel file that can be read: {error}") from None
    return text.getvalue()


def _text(value: object) -> str:
    """Of a cell; a number without a fraction as a whole one, as people see it."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)

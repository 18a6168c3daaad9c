"""Tables of pandas, polars, pyarrow and xarray in, tables of values and derivatives out; columns are found by name.

``out = evaluate(bundle, table)`` needs nothing but the library that the table is of. The names of columns are those of
``export(features=...)``, else ``x`` for an input of one number a row and ``x[0]``, ``x[0,1]`` for others.
"""

from pullback.integrations.tables.columns import input_columns, result_columns
from pullback.integrations.tables.evaluation import arrays, evaluate

__all__ = ["arrays", "evaluate", "input_columns", "result_columns"]

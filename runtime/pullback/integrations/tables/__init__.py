"""Tables of pandas, polars, pyarrow and xarray in, tables of values and derivatives out; columns are found by name.

``out = evaluate(bundle, table)`` needs only the library that the table belongs to. Columns are named as in
``export(features=...)``; otherwise ``x`` for an input with one number per row and ``x[0]``, ``x[0,1]`` for others.
"""

from pullback.integrations.tables.columns import input_columns, result_columns
from pullback.integrations.tables.evaluation import arrays, evaluate

__all__ = ["arrays", "evaluate", "input_columns", "result_columns"]

"""Rows for the functions of ``keras.ops``, one file per family, each with ``ROWS``: name -> rows."""

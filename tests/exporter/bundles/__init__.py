"""Whole exports: the folder, the commands, the files."""

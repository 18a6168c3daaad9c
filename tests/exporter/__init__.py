"""Tests of the exporter as a whole."""

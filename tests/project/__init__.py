"""Tests of the project itself: its structure and what its documentation says."""

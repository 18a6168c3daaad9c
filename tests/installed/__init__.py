"""Tests of the installed wheel, in environments that lack something; see the Makefile."""

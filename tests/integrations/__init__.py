"""Libraries that bundles are used with, each the real one."""

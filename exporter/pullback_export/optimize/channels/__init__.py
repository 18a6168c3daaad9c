"""Values whose channels stay apart, computed for some of them at a time."""

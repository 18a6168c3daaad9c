"""Settings for every environment that tests run in; nothing here needs TensorFlow."""

import os

# Before TensorFlow is imported: no chatter, and one thread for each of the parallel test processes.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

# What was installed is tested in the environments that the Makefile makes for it.
collect_ignore = [] if "PULLBACK_INSTALLED" in os.environ else ["installed"]

"""Runs the named modules of Python's own test suite and prints their counts, which are the same on each run."""
import faulthandler
import os
import sys
import unittest

from test import support

os.environ.pop("CI", None)  # a few tests look at it
support.verbose = False  # else some tests print random orders and times
support.use_resources = []  # no network, no sound, nothing that needs gigabytes
faulthandler.enable(file=sys.__stdout__)

failed = False
for name in sys.argv[1:]:
    suite = unittest.defaultTestLoader.loadTestsFromName("test." + name)
    result = unittest.TestResult()
    suite.run(result)
    print(f"{name}: {result.testsRun} run, {len(result.skipped)} skipped, "
          f"{len(result.failures)} failed, {len(result.errors)} in error", flush=True)
    for test, trace in result.failures + result.errors:
        failed = True
        print(test, trace, sep="\n", flush=True)
sys.exit(failed)

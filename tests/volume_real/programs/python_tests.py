"""Runs Python's own test modules in the current directory, and writes how each test ended as JSON.

Usage: python_tests.py LIBRARY RESULTS PATTERN... ; a pattern is MODULE or MODULE:CLASS. LIBRARY has the package `test`.
"""

import json
import sys
import unittest


class Kept(unittest.TextTestResult):
    """Keeps how each test ended."""

    ends: dict[str, str]

    def __init__(self, *words: object, **more: object) -> None:
        super().__init__(*words, **more)
        self.ends = {}

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        self.ends.setdefault(test.id(), "ok")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self.ends[test.id()] = f"skipped: {reason}"

    def addError(self, test: unittest.TestCase, err: object) -> None:
        super().addError(test, err)
        self.ends[test.id()] = f"error: {err[0].__name__}"

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        super().addFailure(test, err)
        self.ends[test.id()] = f"failed: {err[0].__name__}"


def suite_of(pattern: str) -> unittest.TestSuite:
    """The tests of one pattern, by the module's own load_tests, too."""
    module, _, name = pattern.partition(":")
    loader = unittest.TestLoader()
    if name:
        loader.testNamePatterns = [f"*.{name}.*"]
    return loader.loadTestsFromName(f"test.{module}")


def main(library: str, results: str, patterns: list[str]) -> None:
    sys.path.insert(0, library)
    suite = unittest.TestSuite(suite_of(pattern) for pattern in patterns)
    result = unittest.TextTestRunner(resultclass=Kept, verbosity=2).run(suite)
    with open(results, "w") as file:
        json.dump(result.ends, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

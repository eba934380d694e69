"""Helpers that the tests of the boundary share: modes, processes, ports, comparing with the native run."""

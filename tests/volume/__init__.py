"""Tests of encrypted volumes."""

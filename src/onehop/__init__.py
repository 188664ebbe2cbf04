"""Onehop: network virtualization for clouds."""

__version__ = "0.1.0"

"""Bytes to calls and values to bytes; nothing here does I/O, reads a clock or waits."""

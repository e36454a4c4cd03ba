"""Makers of hostile files: each entry is a name, a file name, and a function that writes the file."""

"""The version of this distribution: setup.cfg reads it from here, and so does the User-Agent."""

__version__ = "0.6.3"

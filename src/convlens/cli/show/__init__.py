"""The terminal output of each command: tables for people, JSON for programs."""

"""What each command says on the terminal: tables for people, JSON for programs."""

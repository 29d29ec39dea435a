"""The report: one self-contained page about a network and photos.

- `report` gathers the shared inputs, runs the sections and writes the page.
- `sections` is the list of sections; its docstring explains how to add one.
- `section` is the contract of a section, `inputs` is what all of them share.
- `result` holds the classes of the report that belong to no section.
"""

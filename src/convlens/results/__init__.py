"""Results: what analyses return, as frozen dataclasses of raw tensors, numbers and text.

result.py          Result, the base class: equality, pictures, saving, loading, display
network_result.py  warnings, and the results that keep them
reproduction.py    the command and the Python lines that compute a result again
registry.py        the list of convlens's own result classes, and the classes of users
storage.py         a result as JSON and tensors in a folder, and back
validation.py      checks of the fields of a saved result
folder.py          what people read in the folder of a result
index.py           index.html of a folder
contact_sheet.py   all pictures of a folder, reduced, in one picture
numbers.py         numbers.json and the output of --json
schema.py          its JSON Schema
description.py     a result in words, and as plain data for JSON
table.py           a small table of a result's numbers
display.py         a result in a notebook
"""

from convlens.results.result import Result
from convlens.results.table import Table

__all__ = ["Result", "Table"]

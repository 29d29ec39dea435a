"""The explorer: a network, its photos, layers, channels and classes live in a browser.

explore.py         `explore` and `export_explorer`
server.py          uvicorn in a thread, on the next free port
safety.py          refuses requests that do not come from the user's own browser
app.py             the addresses, and the application that answers them
addresses.py       writes the addresses of the pages of a model
pages/             a file and a template for each page
rendering.py       renders pages, and answers where an analysis fails
session.py         what one server shows, and the library calls that compute it
model_changes.py   changes of a network while the explorer runs
worker.py          runs computations one at a time, and stops unneeded ones
event_stream.py    sends progress and results while a page is open
photo_store.py     photos under a hash of their content
network.py         the list of layers, and their receptive fields as JSON
patch_search.py    patches of channels, from the index or the first photos
photo_findings.py  the findings on the first photos, for the start page
photo_errors.py    the errors among the labeled photos
comparison.py      classes, answers and layers of two models
reproduction.py    the command and the Python lines of each picture
assets.py          stylesheet and ES modules, under addresses that name their content
export.py          the pages as files
export_plan.py     which pages these are, and what they cost
static_site.py     their folders, and the links between them

The folder `modules` holds the ES modules, and `explorer.css` the rules that only the explorer
needs.
"""

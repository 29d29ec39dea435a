"""The explorer: a network, its photos, layers, channels and classes live in a browser.

- `explore` is the public function; `server` finds a port and runs uvicorn in a thread.
- `safety` refuses requests that do not come from the user's own browser.
- `worker` computes one thing at a time in one thread, and stops what nobody waits for.
- `session` holds what a server shows of a model: the model, the photos and the worker.
- `photo_errors` analyzes the errors on labeled photos; `photo_findings` has the findings that the
  start page shows.
- `event_stream` sends progress and results while a page is open.
- `patch_search` finds the patches of channels, and `comparison` compares two models.
- `photo_store` keeps photos under a hash of their content.
- `network` lists the layers with maps, and writes their receptive fields as JSON.
- `reproduction` writes the command and the Python line of each picture.
- `app` lists the addresses, and `pages/` has one file and one template for each page.
- `modules/` holds the ES modules and `explorer.css` the rules that only the explorer needs.
"""

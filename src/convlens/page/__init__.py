"""The report: one self-contained page about a network and photos.

report.py            `report`: gathers the inputs, runs the sections and writes the page
result.py            `Report`, and the results that belong to no section
section.py           the contract of a section
sections/            the list of sections, and a file and a template for each
inputs.py            what all sections share
budget.py            how many items, bytes and multiply-adds each part may take
progress.py          stages: their times, and why a part is missing
photos.py            reads the photos and predicts their classes
photo_cards.py       explains, checks and attacks the photos that are shown in full
photo_maps.py        their maps, in each of the ways in which the page can show them
photo_statistics.py  what the photos say together
photo_findings.py    the findings on photos
photo_tiles.py       the tiles and the thumbnails of photos
channel_choice.py    which layers and channels are shown
maximized_images.py  maximized images within a budget
findings.py          collects the findings and the tiles of all sections
first_screen.py      tiles, strip of photos, findings and navigation
reproduction.py      the command and the Python lines of each section
render.py            the HTML
"""

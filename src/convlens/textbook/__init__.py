"""The figures of the chapter as one page: each with its formula, its command and its Python line.

chapter.py    computes all figures and writes the folder
notion.py     Notion, one idea of the chapter with its figure; Materials, what several of them use
notions/      the notions, one file for each section of the chapter
render.py     the page
"""

"""Photos and images: files, decoding, preprocessing, data sets.

photo_files.py         the photos that paths, folders and globs name
file_search.py         files below a folder
photo_formats.py       formats and suffixes
photos.py              `read_photo`: decodes a photo
picture_conversion.py  opened pictures as 8-bit RGB
tiff.py                the tags of TIFF files
array_pictures.py      arrays as pictures
preprocessing.py       resize and crop
photo_decoder.py       from a photo to the pixels of a model
prepared_photos.py     prepared photos that are kept in memory
lru_cache.py           values that are kept within a limit of bytes
pixel_budget.py        the number of pixels that are decoded at once
images.py              images as tensors, PNG and JPEG
photo_names.py         short names of photos, and photos that a table names
csv_tables.py          CSV files of users
sampling.py            a few of many items, evenly spread
training_data.py       the text that names labeled images
datasets/              photos as data sets: files, Parquet, pictures in memory
"""

"""Photos as data sets, of which a pass reads one batch after the other.

photo_dataset.py  `PhotoDataset`, and that of files
pictures.py       pictures in memory
parquet.py        `ParquetPhotos`: photos in the rows of Parquet files
parquet_index.py  where these rows are, from the footers of the files
columns.py        the columns of these files
sequential.py     random access to chunks that are read one after the other
subset.py         some of the photos of a data set
read_ahead.py     reads items in threads, ahead of a loop
decoded_batch.py  batches that another process decodes
arrow_batches.py  the same as rows of Arrow tables, for Ray
"""

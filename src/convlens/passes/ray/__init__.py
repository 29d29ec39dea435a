"""The Ray engine: a data set pass by processes on one machine or on a cluster."""

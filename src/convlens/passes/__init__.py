"""Data set passes: run a reducer, or other work, once over all images of a data set.

run.py             run_pass and run_reducer, the two calls that an analysis makes
options.py         PassOptions: what the caller chooses about how a pass runs
source.py          where the images come from: photos decoded ahead of the network, or a tensor
reducer.py         the contract of a reducer, which sees the values at nodes of the trace
job.py             the contracts between a pass and an engine
engines.py         the list of engines
local.py           the engine that runs in this process
ray/               the engine that runs on many machines
saved_state.py     what a pass has finished, on disk, so that it can be resumed
random_numbers.py  random numbers for each image, the same in any order of the images
proportion.py      a share of the images with its 95 % interval
mcnemar.py         a test of two counts from the same images
"""

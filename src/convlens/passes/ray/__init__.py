"""The Ray engine: a data set pass by processes on one machine or on a cluster.

engine.py       the engine
session.py      connects to Ray
planner.py      how many processes of which kind
packing.py      sends the model and its work
actor_pool.py   the processes that hold the network
batch_actor.py  one of them
"""

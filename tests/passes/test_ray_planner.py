"""Number and size of actors, planned from the resources of a cluster."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convlens import ConvlensError
from convlens.passes.ray.planner import make_plan


def nodes(*machines):
    result = [
        {"Alive": alive, "Resources": {"CPU": float(cpus), "GPU": float(gpus)} if cpus else {}}
        for cpus, gpus, alive in machines
    ]
    return SimpleNamespace(nodes=lambda: result)


class TestPlan:
    def test_chosen_from_the_resources(self):
        small = make_plan(nodes((2, 0, True)), None, 1, gpu=False)
        assert (small.actors, small.threads, small.gpus) == (2, 1, 0)
        assert make_plan(nodes((2, 0, True)), None, 2, gpu=False).actors == 1
        two = make_plan(nodes((16, 0, True), (8, 0, True), (64, 0, False)), None, 4, gpu=False)
        assert (two.actors, two.threads, two.cpus) == (6, 4, 3.0)
        eight = make_plan(nodes((64, 8, True), (16, 0, True)), None, 4, gpu=True)
        assert (eight.actors, eight.gpus) == (8, 1)
        assert make_plan(nodes((64, 8, True)), 3, 4, gpu=True).actors == 3

    def test_what_is_not_there(self):
        with pytest.raises(ConvlensError, match="no CPUs"):
            make_plan(nodes((0, 0, True)), None, 1, gpu=False)
        with pytest.raises(ConvlensError, match="1 actors on GPUs, of which the cluster has 0"):
            make_plan(nodes((4, 0, True)), None, 1, gpu=True)
        with pytest.raises(ConvlensError, match="3 actors on GPUs, of which the cluster has 2"):
            make_plan(nodes((4, 2, True)), 3, 1, gpu=True)

    def test_no_more_actors_than_cpus(self):
        """Each is a process of its own with the network in memory."""
        machines = nodes((1, 0, True), (1, 0, True), (64, 0, False))
        with pytest.raises(ConvlensError, match=r"^100 actors, and the cluster has 2 CPUs"):
            make_plan(machines, 100, 1, gpu=False)
        assert make_plan(machines, 2, 1, gpu=False).actors == 2
        assert make_plan(nodes((0.5, 0, True)), 1, 1, gpu=False).actors == 1
        assert make_plan(nodes((2, 4, True)), 4, 1, gpu=True).actors == 4

    def test_fewer_actors_where_machines_went(self):
        plan = make_plan(nodes((2, 0, True), (2, 0, True)), None, 1, gpu=False)
        assert plan.count_that_fit(nodes((2, 0, True), (2, 0, True))) == 4
        assert plan.count_that_fit(nodes((2, 0, True), (2, 0, False))) == 2
        assert plan.count_that_fit(nodes((1, 0, True), (2, 0, False))) == 1

    @settings(max_examples=300)
    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=4), st.none() | st.integers(1, 12),
        st.integers(1, 8), st.lists(st.integers(0, 3), min_size=40, max_size=40),
    )  # fmt: skip
    def test_there_is_always_room_to_decode(self, cpus, actors, threads, order):
        """However actors come to lie: what a machine has not room for goes to another."""
        machines = nodes(*((cpu, 0, True) for cpu in cpus))
        plan = make_plan(machines, actors and min(actors, sum(cpus)), threads, gpu=False)
        left, placed = [float(cpu) for cpu in cpus], 0
        for choice in order:
            fits = [number for number, free in enumerate(left) if free >= plan.cpus - 1e-9]
            if placed == plan.count_that_fit(machines) or not fits:
                break
            left[fits[choice % len(fits)]] -= plan.cpus
            placed += 1
        assert placed >= 1
        assert max(left) >= 0.25 - 1e-9

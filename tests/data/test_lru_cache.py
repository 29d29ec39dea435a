"""SequentialReader and LRUCache: chunks read in order, values within a limit of bytes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from convlens import PhotoError
from convlens.data.datasets.sequential import SequentialReader
from convlens.data.lru_cache import LRUCache


class TestSequentialReader:
    def test_read_on_or_from_the_front(self):
        begun = []

        def read():
            begun.append(1)
            yield from "abcdefgh"

        reader = SequentialReader(read)
        for number, count in ((0, 1), (1, 1), (4, 1), (3, 1), (4, 1), (5, 1), (2, 2), (7, 2)):
            assert (reader[number], len(begun)) == ("abcdefgh"[number], count)
        with pytest.raises(IndexError):
            reader[8]
        assert reader[0] == "a"

    def test_after_an_error_it_begins_anew(self):
        errors = [PhotoError, None]

        def read():
            yield "a"
            if error := errors.pop(0):
                raise error
            yield "b"

        reader = SequentialReader(read)
        with pytest.raises(PhotoError):
            reader[1]
        assert reader[1] == "b"


class TestLRUCache:
    def test_made_once_for_many_threads(self):
        calls, gate = [], threading.Barrier(8)
        cache = LRUCache(100)

        def ask(_):
            gate.wait()
            return cache.get("a", lambda: (calls.append(1) or "value", 10))

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == ["value"] * 8
        assert calls == [1]

    @pytest.mark.parametrize(("most", "expected"), [(100, "efg"), (29, "fg"), (1000, "abcdefg")])
    def test_what_was_used_last_is_kept_within_the_limit(self, most, expected):
        cache, calls = LRUCache(most), []
        for key in "abcdefg":
            cache.get(key, lambda key=key: (key, 30))  # type: ignore[misc]
        for key in expected:
            cache.get(key, lambda key=key: (calls.append(key), 30))  # type: ignore[misc]
        assert calls == []
        cache.get("new", lambda: (calls.append("new"), 1))
        cache.get("b", lambda: (calls.append("b"), 30))
        assert calls == (["new"] if most == 1000 else ["new", "b"])

    def test_what_is_asked_for_again_counts_as_used(self):
        cache, calls = LRUCache(90), []
        for key in "abcad":
            cache.get(key, lambda key=key: (calls.append(key), 30))  # type: ignore[misc]
        cache.get("a", lambda: (calls.append("again"), 30))
        assert calls == ["a", "b", "c", "d"]

    def test_an_interrupt_is_not_kept_but_an_error_is(self):
        cache, calls = LRUCache(100), []

        def fails(error):
            calls.append(error)
            raise error

        for error in (KeyboardInterrupt, PhotoError, ValueError):
            for _ in range(2):
                with pytest.raises(PhotoError if PhotoError in calls else error):
                    cache.get("a", lambda error=error: fails(error))  # type: ignore[misc]
        assert calls == [KeyboardInterrupt, KeyboardInterrupt, PhotoError]
        assert cache.get("b", lambda: ("value", 1)) == "value"

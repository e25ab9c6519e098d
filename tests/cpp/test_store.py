"""The stored form: lossless, small, deterministic, and not to be fooled."""

import io
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segdata.codecs.npz import encode_npz
from segdata.cpp.kernels import Parts, are_whole
from segdata.cpp.pooling import cpp_counts
from segdata.cpp.store import OtherVersionError, check_cpp, decode_cpp, encode_cpp, load_cpp, read_meta
from segdata.cpp.targets import pool_targets
from segdata.errors import StoreError

LABEL = np.kron(np.array([[0, 1, 2], [255, 18, 2]], np.uint8), np.ones((5, 7), np.uint8))


def arrays_of(data):
    with np.load(io.BytesIO(data)) as loaded:
        return {name: loaded[name] for name in loaded}


def forged(**changes):
    """Return a sound file in which some members, or with ``meta`` fields of the JSON, are others."""
    arrays = arrays_of(encode_cpp(pool_targets(LABEL, [2])))
    meta = json.loads(arrays["meta"].tobytes()) | changes.pop("meta", {})
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    return encode_npz(arrays | changes)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 40), st.sets(st.integers(1, 20), min_size=1, max_size=3))
def test_what_is_stored_reads_back_to_the_last_count(seed, height, width, scales):
    label = np.random.default_rng(seed).choice(np.array([0, 0, 0, 7, 18, 255], np.uint8), (height, width))
    targets = decode_cpp(encode_cpp(pool_targets(label, scales)), "x")
    assert targets.scales == tuple(sorted(scales))
    for scale in scales:
        assert np.array_equal(targets.counts(scale), cpp_counts(label, scale))


def test_a_file_loads_by_path(tmp_path):
    path = tmp_path / "a label.cpp.npz"
    path.write_bytes(encode_cpp(pool_targets(LABEL, [2, 4]), {"label_digest": "ab"}))
    targets = load_cpp(path)
    assert (targets.size, targets.num_classes, targets.meta["about"]) == ((10, 21), 19, {"label_digest": "ab"})
    assert np.array_equal(load_cpp(str(path)).counts(4), cpp_counts(LABEL, 4))


def test_the_same_targets_give_the_same_bytes():
    assert encode_cpp(pool_targets(LABEL, [2])) == encode_cpp(pool_targets(LABEL.copy(), (2,)))


def test_meta_says_what_the_file_holds():
    meta = read_meta(encode_cpp(pool_targets(LABEL, [2, 4, 3])), "x")
    assert (meta["format"], meta["version"]) == ("segdata-cpp", 1)
    assert (meta["scales"], meta["stored"], meta["size"]) == ([2, 3, 4], [2, 3], [10, 21])
    assert meta["pixels"] == np.bincount(np.minimum(LABEL, 19).ravel(), minlength=20).tolist()


def test_any_flipped_bit_is_found():
    data = encode_cpp(pool_targets(LABEL, [2]))
    for bit in np.random.default_rng(0).integers(0, 8 * len(data), 300):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreError, match="is damaged"):
            check_cpp(bytes(flipped), "x")


HOSTILE = {
    "an id that is not a class": {"map_2": np.full((5, 11), 19, np.uint8)},
    "mixed cells without parts": {"map_2": np.full((5, 11), 254, np.uint8)},
    "too few cells": {"map_2": np.zeros((5, 10), np.uint8)},
    "cells of another dtype": {"map_2": np.zeros((5, 11), np.int8)},
    "parts that are none": {"num_parts_2": np.full(19, 1, np.uint8)},
    "too many parts": {"num_parts_2": np.full(19, 255, np.uint8)},
    "a part of no class": {"part_ids_2": np.full(39, 200, np.uint8)},
    "parts of one id": {"part_ids_2": np.full(39, 3, np.uint8)},
    "parts of no pixel": {"part_counts_2": np.zeros(39, np.uint8)},
    "parts of too many pixels": {"part_counts_2": np.full(39, 4, np.uint8)},
    "no object": {"meta": np.frombuffer(b"[]", np.uint8)},
    "no JSON": {"meta": np.frombuffer(b"{", np.uint8)},
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_members_that_cannot_be_are_refused(members):
    data = encode_npz(arrays_of(encode_cpp(pool_targets(LABEL, [2]))) | members)
    with pytest.raises(StoreError, match=r"^x: is damaged or no file of pooled targets"):
        check_cpp(data, "x")


LIES = {
    "another format": {"format": "other"},
    "a huge size": {"size": [2**20, 2**20]},
    "a size of other cells": {"size": [10, 40]},
    "no size": {"size": []},
    "size in words": {"size": ["10", "21"]},
    "no scale": {"scales": []},
    "scale true": {"scales": [True], "stored": [True]},
    "scales out of order": {"scales": [4, 2]},
    "a scale not stored": {"stored": [4], "scales": [4]},
    "classes beyond the ids": {"num_classes": 255},
    "fewer classes": {"num_classes": 2, "pixels": [0, 0, 0]},
    "other pixels": {"pixels": [0] * 20},
    "another mark for mixed": {"mixed": 253},
    "no provenance": {"about": None},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_meta_that_cannot_be_is_refused(lie):
    with pytest.raises(StoreError, match=r"^x: is damaged or no file of pooled targets"):
        check_cpp(forged(meta=lie), "x")


def test_another_version_is_named_not_called_damaged():
    with pytest.raises(OtherVersionError, match="x: has version 2 of the format, expected 1"):
        decode_cpp(forged(meta={"version": 2}), "x")


@pytest.mark.parametrize("name", ["meta", "map_2", "num_parts_2", "part_ids_2", "part_counts_2"])
def test_a_missing_member_is_named(name):
    arrays = arrays_of(encode_cpp(pool_targets(LABEL, [2])))
    del arrays[name]
    with pytest.raises(StoreError, match=f"it has no '{name}'"):
        decode_cpp(encode_npz(arrays), "x")


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(StoreError, match=r"none\.npz: cannot be read \(No such file"):
        load_cpp(tmp_path / "none.npz")
    with pytest.raises(StoreError, match=r"cannot be read \(Is a directory"):
        load_cpp(tmp_path)


def test_real_labels_are_lossless_and_small(real_data):
    for path in sorted((real_data / "camvid" / "val" / "labels").glob("*.png"))[:5]:
        label = np.asarray(Image.open(path))
        data = encode_cpp(pool_targets(np.where(label == 11, 255, label), [2, 4, 8]))
        assert len(data) < 2.5 * path.stat().st_size
        assert np.array_equal(decode_cpp(data, "x").counts(8)[:11], cpp_counts(label, 8, num_classes=12)[:11])


@pytest.mark.parametrize(
    ("ids", "counts", "starts", "whole"),
    [
        ([0, 1], [1, 3], [0, 2], True),
        ([1, 1], [1, 3], [0, 2], False),  # ids ascend
        ([1, 0], [1, 3], [0, 2], False),
        ([0], [4], [0, 1], False),  # one class alone is not mixed
        ([0, 1], [1, 2], [0, 2], False),
        ([0, 1], [0, 4], [0, 2], False),
    ],
)
def test_parts_of_mixed_cells_are_whole(ids, counts, starts, whole):
    parts = Parts(np.array(starts, np.int64), np.array(ids, np.uint8), np.array(counts, np.uint32))
    assert are_whole(parts, 4) is whole


def test_other_scales_than_those_that_are_held_are_refused():
    with pytest.raises(StoreError, match="contradicts itself"):
        decode_cpp(forged(meta={"scales": [2, 4], "stored": [2, 4]}), "x")


def test_cells_of_more_classes_than_pixels_are_refused_before_memory_is_taken():
    label = np.tile(np.array([[0, 1]], np.uint8), (1024, 512))
    arrays = arrays_of(encode_cpp(pool_targets(label, [2])))
    arrays["num_parts_2"] = np.full_like(arrays["num_parts_2"], 255)
    data = encode_npz(arrays)
    tracemalloc.start()
    with pytest.raises(StoreError, match="scale 2 has cells of 255 to 255 classes, expected 2 to 4"):
        decode_cpp(data, "x")
    assert tracemalloc.get_traced_memory()[1] < 20 * label.size
    tracemalloc.stop()


def test_limits_are_arguments(tmp_path):
    path = tmp_path / "a.cpp.npz"
    path.write_bytes(encode_cpp(pool_targets(LABEL, [2])))
    assert load_cpp(path, max_pixels=210, max_bytes=10**6).size == (10, 21)
    with pytest.raises(StoreError, match="a label of 10 x 21 pixels, over 209 in all"):
        load_cpp(path, max_pixels=209)
    with pytest.raises(StoreError, match="it has over 99 bytes"):
        load_cpp(path, max_bytes=99)


def test_counts_that_are_not_the_pixels_it_says_are_found():
    sound = json.loads(arrays_of(forged())["meta"].tobytes())
    assert check_cpp(forged(), "x")["pixels"] == sound["pixels"]
    fewer = [count - (number == 0) for number, count in enumerate(sound["pixels"])]
    with pytest.raises(StoreError, match="its counts are not the pixels it says"):
        check_cpp(forged(meta={"pixels": fewer}), "x")


@pytest.mark.parametrize(
    ("name", "value"), [("map_2", 40), ("part_ids_2", 40), ("part_counts_2", 0), ("part_counts_2", 255)]
)
def test_ids_and_counts_that_cannot_be_are_refused(name, value):
    array = arrays_of(forged())[name].copy()
    array.reshape(-1)[-1 if name != "map_2" else np.flatnonzero(array.reshape(-1) < 19)[0]] = value
    with pytest.raises(StoreError, match="scale 2 holds ids or counts that cannot be"):
        decode_cpp(forged(**{name: array}), "x")

"""Copies of a field are found through brightness, size and noise; different fields are not."""

import tracemalloc

import cv2
import numpy as np
import pytest

from hpa_lib.data import duplicates


def fields(count, size=64, seed=0):
    """Smooth random four-channel images, as different as unrelated fields are."""
    noise = np.random.default_rng(seed).normal(size=(count, size, size, 4)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(image, (0, 0), 4) for image in noise])
    return np.clip(128 + 400 * smooth, 0, 255).astype(np.uint8)


def test_hashes_are_64_bits_a_channel_whatever_the_block(monkeypatch):
    images = fields(7)
    hashes = duplicates.hash_images(images)
    assert (hashes.shape, hashes.dtype) == ((7, 256), bool)
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    np.testing.assert_array_equal(duplicates.hash_images(images), hashes)


def test_waves_are_those_of_the_cosine_transform():
    thumb = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    waves = duplicates._cosines()
    ours = waves @ thumb @ waves.T
    ratio = ours / cv2.dct(thumb)[:8, :8]  # OpenCV's is the orthonormal one: the same up to a factor for each row
    np.testing.assert_allclose(ratio[1:, 1:], ratio[1, 1], rtol=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: (image * 0.5).astype(np.uint8),
        lambda image: cv2.resize(cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA), (64, 64)),
        lambda image: np.clip(image + np.random.default_rng(1).normal(0, 4, image.shape), 0, 255).astype(np.uint8),
    ],
    ids=["same", "darker", "resized", "noisy"],
)
def test_a_copy_is_found_and_nothing_else(change):
    images = fields(30)
    images = np.concatenate([images, change(images[4])[None]])
    pairs, distances = duplicates.find_pairs(duplicates.hash_images(images))
    assert pairs.tolist() == [[4, 30]]
    assert distances[0] <= duplicates.MAX_DISTANCE


def test_a_thumb_is_the_mean_of_the_pixels_below_it():
    """A hash of single pixels would take two exposures of one field, of which every pixel has its own noise, apart."""
    noise = np.random.default_rng(2).normal(0, 40, (2, 256, 256, 4))
    field = cv2.resize(fields(1)[0], (256, 256), interpolation=cv2.INTER_CUBIC)
    pairs, _ = duplicates.find_pairs(duplicates.hash_images(np.clip(field + noise, 0, 255).astype(np.uint8)))
    assert pairs.tolist() == [[0, 1]]
    stripes = np.zeros((1, 64, 64, 4), np.uint8)
    stripes[:, ::2] = 200  # every second row: 100 in the mean, 0 or 200 in the nearest pixel
    np.testing.assert_array_equal(duplicates._thumb(stripes[0]), 100)


def test_pairs_are_those_of_a_plain_comparison(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 4)
    random = np.random.default_rng(0)
    hashes, others = random.random((15, 16)) < 0.5, random.random((9, 16)) < 0.5
    within = {(i, j): int((hashes[i] != hashes[j]).sum()) for i in range(15) for j in range(i + 1, 15)}
    pairs, distances = duplicates.find_pairs(hashes, max_distance=5)
    found = dict(zip(map(tuple, pairs.tolist()), distances.tolist(), strict=True))
    assert found == {pair: distance for pair, distance in within.items() if distance <= 5}
    assert found
    pairs, distances = duplicates.find_pairs(hashes, others, max_distance=5)
    between = {(i, j): int((hashes[i] != others[j]).sum()) for i in range(15) for j in range(9)}
    found = dict(zip(map(tuple, pairs.tolist()), distances.tolist(), strict=True))
    assert found == {pair: distance for pair, distance in between.items() if distance <= 5}


def test_eight_times_as_many_images_take_no_more_memory(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 64)
    peaks = []
    for number in (256, 2048):
        hashes = np.random.default_rng(0).random((number, 256)) < 0.5
        tracemalloc.start()
        duplicates.find_pairs(hashes)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 3 * peaks[0], peaks


def test_no_images_have_no_pairs():
    empty = duplicates.hash_images(np.empty((0, 64, 64, 4), np.uint8))
    assert duplicates.find_pairs(empty)[0].shape == (0, 2)
    assert duplicates.find_pairs(duplicates.hash_images(fields(2)), empty)[0].shape == (0, 2)


def test_groups_join_given_groups_and_pairs():
    groups = duplicates.merge_groups(["a", "b", "c", "c", "d", "e"], np.array([[1, 2], [4, 5]]))
    assert groups.tolist() == [0, 1, 1, 1, 2, 2]
    chain = duplicates.merge_groups(range(5), np.array([[3, 4], [2, 3], [0, 4]]))
    assert chain.tolist() == [0, 1, 0, 0, 0]
    assert duplicates.merge_groups(["x", "y", "x"], np.empty((0, 2), int)).tolist() == [0, 1, 0]


def test_two_thousand_identical_images_are_one_group_by_one_search(monkeypatch):
    """Two million pairs: followed one after the other in Python they took 11 s."""
    hashes = np.zeros((2000, 8), bool)
    pairs, _ = duplicates.find_pairs(hashes)
    assert len(pairs) == 2000 * 1999 // 2
    calls, search = [], duplicates.scipy.sparse.csgraph.connected_components
    monkeypatch.setattr(
        duplicates.scipy.sparse.csgraph,
        "connected_components",
        lambda *given, **options: (calls.append(1), search(*given, **options))[1],
    )
    groups = duplicates.merge_groups(range(2003), pairs + 2)
    assert groups.tolist() == [0, 1, *[2] * 2000, 3]
    assert len(calls) == 1


def test_groups_are_those_of_a_plain_search():
    random = np.random.default_rng(3)
    for _ in range(20):
        given, pairs = random.integers(0, 30, 40), random.integers(0, 40, (12, 2))
        expected = list(range(40))
        links = [*map(tuple, pairs.tolist()), *((i, j) for i in range(40) for j in range(i) if given[i] == given[j])]
        for _ in range(40):
            for left, right in links:
                expected[left] = expected[right] = min(expected[left], expected[right])
        numbers = {root: number for number, root in enumerate(dict.fromkeys(expected))}
        assert duplicates.merge_groups(given, pairs).tolist() == [numbers[root] for root in expected]


def test_pair_table_names_both_images():
    table = duplicates.twin_table(
        np.array(["a", "b"]), np.array(["x", "y"]), np.array([[0, 1], [1, 0]]), np.array([3, 0])
    )
    assert table.to_dict("list") == {"train_id": ["b", "a"], "test_id": ["x", "y"], "distance": [0, 3]}


def test_a_negative_distance_is_refused():
    with pytest.raises(ValueError, match="max_distance -1: use 0"):
        duplicates.find_pairs(np.zeros((2, 8), bool), max_distance=-1)

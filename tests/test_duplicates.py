"""Copies of a field are found through brightness, size and noise; different fields are not."""

import cv2
import numpy as np
import pytest

from hpa_lib import duplicates


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


def test_pair_table_names_both_images():
    table = duplicates.pair_table(
        np.array(["a", "b"]), np.array(["x", "y"]), np.array([[0, 1], [1, 0]]), np.array([3, 0])
    )
    assert table.to_dict("list") == {"train_id": ["b", "a"], "test_id": ["x", "y"], "distance": [0, 3]}


def test_a_negative_distance_is_refused():
    with pytest.raises(ValueError, match="max_distance -1: use 0"):
        duplicates.find_pairs(np.zeros((2, 8), bool), max_distance=-1)

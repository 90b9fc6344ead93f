"""Bootstrap intervals: resamples by hand, groups kept together, pairs paired, seeds repeated."""

import inspect
import warnings

import numpy as np
import pytest

from hpa_lib.decisions import bootstrap, metrics

NUM_LABELS = 28


def draw_case(num_images: int = 300, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = (generator.random((num_images, NUM_LABELS)) < 0.3).astype(np.uint8)
    wrong = generator.random(labels.shape) < 0.25
    return labels, np.where(wrong, 1 - labels, labels).astype(np.uint8)


@pytest.mark.parametrize("groups", [None, np.arange(300) // 3])
def test_every_resample_is_the_score_of_drawn_images(groups):
    labels, preds = draw_case()
    draws = bootstrap.BLOCK + 7  # more than one block
    counts = bootstrap.resample(labels, preds, groups, draws, seed=4)
    size = 300 if groups is None else 100
    generator = np.random.default_rng(4)
    chosen = [generator.integers(size, size=(block, size)) for block in (bootstrap.BLOCK, 7)]
    for draw, picked in ((0, chosen[0][0]), (draws - 1, chosen[1][6])):
        rows = picked if groups is None else np.concatenate([np.flatnonzero(groups == group) for group in picked])
        for ours, expected in zip(counts, metrics.confusion_counts(labels[rows], preds[rows]), strict=True):
            np.testing.assert_array_equal(ours[draw], expected)


@pytest.mark.parametrize("statistic", ["macro_f1", "micro_f1", "f1_per_class"])
def test_the_estimate_is_the_metric_and_lies_inside(statistic):
    labels, preds = draw_case()
    result = bootstrap.interval(labels, preds, statistic, draws=200)
    np.testing.assert_allclose(result["estimate"], getattr(metrics, statistic)(labels, preds))
    assert np.all(result["low"] < result["estimate"]) and np.all(result["estimate"] < result["high"])
    assert np.all(np.array(result["low"]) >= 0) and np.all(np.array(result["high"]) <= 1)


def test_the_width_is_that_of_theory():
    """For one class the F1 of many images has a known spread; here against fresh samples from the population."""
    fresh = [metrics.macro_f1(*draw_case(400, seed)) for seed in range(60)]
    widths = [
        result["high"] - result["low"]
        for result in (bootstrap.interval(*draw_case(400, seed), draws=300) for seed in range(10))
    ]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(fresh), rel=0.25)


def test_rare_classes_do_not_drag_the_interval_below_the_estimate():
    labels, _ = draw_case()
    labels[:, 5:] = 0
    labels[np.arange(5, NUM_LABELS), np.arange(5, NUM_LABELS)] = 1  # one each: a third of the resamples lacks it
    result = bootstrap.interval(labels, labels, draws=300)
    assert result["low"] < result["estimate"] == 1 == result["high"]


def test_grouped_intervals_are_wider_for_repeated_images():
    labels, preds = (np.repeat(array, 4, axis=0) for array in draw_case(100))
    groups = np.repeat([f"g{number}" for number in range(100)], 4)
    alone, grouped = (bootstrap.interval(labels, preds, groups=given, draws=300) for given in (None, groups))
    assert grouped["high"] - grouped["low"] > 1.5 * (alone["high"] - alone["low"])


def test_pairs_share_their_resamples():
    labels, preds = draw_case()
    slightly = preds.copy()
    slightly[:3] = labels[:3]
    result = bootstrap.paired(labels, slightly, preds, draws=300)
    assert result["difference"] == pytest.approx(metrics.macro_f1(labels, slightly) - metrics.macro_f1(labels, preds))
    single = bootstrap.interval(labels, preds, draws=300)
    assert result["high"] - result["low"] < 0.5 * (single["high"] - single["low"])
    assert result["share_better"] > 0.9
    same = bootstrap.paired(labels, preds, preds, draws=50)
    assert (same["difference"], same["low"], same["high"], same["share_better"]) == (0, 0, 0, 0.5)
    turned = bootstrap.paired(labels, preds, slightly, draws=300)
    assert turned["low"] == pytest.approx(-result["high"])


def test_a_comparison_holds_every_name_against_the_baseline():
    labels, preds = draw_case()
    better = np.where(np.random.default_rng(9).random(labels.shape) < 0.5, labels, preds)
    named = {"base": preds, "better": better, "silent": np.zeros_like(labels)}
    table = bootstrap.compare(labels, named, "base", draws=100, seed=3).set_index("name")
    assert list(table.index) == list(named)
    assert table.loc["base", ["gain", "gain_low", "gain_high"]].tolist() == [0, 0, 0]
    single = bootstrap.interval(labels, better, draws=100, seed=3)
    pair = bootstrap.paired(labels, better, preds, draws=100, seed=3)
    assert table.loc["better", ["macro_f1", "low", "high"]].tolist() == [
        single["estimate"], single["low"], single["high"]
    ]  # fmt: skip
    assert table.loc["better", ["gain", "gain_low", "gain_high", "share_better"]].tolist() == [
        pair["difference"], pair["low"], pair["high"], pair["share_better"]
    ]  # fmt: skip
    with pytest.raises(ValueError, match="baseline 'best': use one of base, better, silent"):
        bootstrap.compare(labels, named, "best")


def test_the_share_of_better_resamples_agrees_with_the_interval():
    """Both are moved by the bias of the resamples: rare classes drag each resample down, the better side's more."""
    labels, preds = draw_case()
    labels[:, 10:] = 0
    labels[np.arange(10, NUM_LABELS), np.arange(10, NUM_LABELS)] = 1  # one image each
    better = preds.copy()
    better[:40, :3] = labels[:40, :3]
    for size in range(10, NUM_LABELS):
        better[:, size] = labels[:, size]
        pair = bootstrap.paired(labels, better, preds, draws=200)
        assert (pair["share_better"] >= 0.975) == (pair["low"] > 0) or abs(pair["low"]) < 1e-3
        assert pair["share_better"] > 0.4


def test_an_interval_over_seeds_contains_images_and_seeds():
    resampled = np.random.default_rng(0).normal(0, 0.01, (3, 500))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = bootstrap.over_seeds(np.array([0.02]), resampled[:1])
    assert alone["seeds"] == 1 and np.isnan(alone["sd"])
    assert (alone["low"], alone["high"]) == pytest.approx(tuple(bootstrap.bounds(resampled[0], 0.02)))
    two = bootstrap.over_seeds(np.array([0.02, 0.04]), resampled[:2])
    assert two["sd"] == pytest.approx(0.01 * np.sqrt(2)) and two["high"] - two["low"] > 0.25  # t is 12.7
    values = np.array([0.079, 0.019, 0.040])
    both = bootstrap.over_seeds(values, resampled)
    image_reach = both["estimate"] - bootstrap.bounds(resampled.mean(axis=0), values.mean())[0]
    seed_reach = 4.3027 * values.std(ddof=1) / np.sqrt(3)  # Student's t, two degrees of freedom
    assert both["estimate"] - both["low"] == pytest.approx(np.hypot(image_reach, seed_reach), rel=1e-4)
    assert both["low"] < 0  # three gains that differ so much prove nothing
    with pytest.raises(ValueError, match="one row for each seed"):
        bootstrap.over_seeds(values, resampled[:2])


@pytest.mark.parametrize(("sd_seeds", "sd_images"), [(0.03, 0.01), (0.01, 0.01), (0.003, 0.02)])
def test_an_interval_over_seeds_holds_the_truth_as_often_as_it_says(sd_seeds, sd_images):
    random = np.random.default_rng(1)
    repeats, held, images_only = 400, 0, 0
    for _ in range(repeats):
        values = random.normal(0, sd_images) + random.normal(0, sd_seeds, 3)  # the images are common to all seeds
        resampled = values[:, None] + random.normal(0, sd_images, 200)
        found = bootstrap.over_seeds(values, resampled)
        held += found["low"] <= 0 <= found["high"]
        low, high = bootstrap.bounds(resampled.mean(axis=0), values.mean())
        images_only += low <= 0 <= high
    assert held / repeats >= 0.93
    assert sd_seeds < 0.03 or images_only / repeats < 0.85


def test_no_more_resamples_than_asked():
    labels, preds = draw_case()
    for draws in (1, bootstrap.BLOCK, bootstrap.BLOCK + 1):
        assert {len(count) for count in bootstrap.resample(labels, preds, draws=draws)} == {draws}


def test_wins_are_shared_among_equals_and_go_to_the_best():
    labels, preds = draw_case()
    shares = bootstrap.win_shares(labels, {"a": preds, "b": preds, "c": np.zeros_like(labels)}, draws=50)
    assert shares == {"a": 0.5, "b": 0.5, "c": 0}
    assert bootstrap.win_shares(labels, {"truth": labels, "a": preds}, draws=50)["truth"] == 1


def test_all_draw_the_same_resamples_unless_told_otherwise():
    names = ("interval", "paired", "resample_gains", "compare", "win_shares", "resample")
    defaults = [inspect.signature(getattr(bootstrap, name)).parameters for name in names]
    assert {(each["draws"].default, each["seed"].default) for each in defaults} == {(1000, 0)}


def test_the_seed_decides():
    labels, preds = draw_case()
    first, again, other = (bootstrap.interval(labels, preds, draws=50, seed=seed) for seed in (1, 1, 2))
    assert first == again and first["low"] != other["low"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"statistic": "auc"}, "statistic 'auc': use one of macro_f1"),
        ({"groups": np.zeros(5)}, "5 groups for 300 images"),
        ({"draws": 0}, "0 draws"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        bootstrap.interval(*draw_case(), **options)


@pytest.mark.parametrize("draws", [1, bootstrap.BLOCK - 1, bootstrap.BLOCK, bootstrap.BLOCK + 7])
def test_there_are_as_many_resamples_as_were_asked_for(draws):
    labels, preds = draw_case()
    assert [counts.shape for counts in bootstrap.resample(labels, preds, draws=draws)] == [(draws, NUM_LABELS)] * 3
    assert bootstrap.interval(labels, preds, draws=draws)["draws"] == draws
    assert bootstrap.paired(labels, preds, preds, draws=draws)["draws"] == draws


def test_an_interval_holds_95_percent_of_the_resamples():
    values = np.random.default_rng(0).random(1001)
    low, high = bootstrap.bounds(values, values.mean())
    assert np.mean((values >= low) & (values <= high)) == pytest.approx(0.95, abs=0.002)


def test_groups_are_kept_together_in_every_comparison():
    labels, preds = draw_case()
    other = np.where(np.random.default_rng(8).random(labels.shape) < 0.25, 1 - labels, labels)  # as good as preds
    groups = np.arange(300) // 3

    def scores(array):
        return metrics.f1_of_counts(*bootstrap.resample(labels, array, groups, 60, 2)).mean(axis=1)

    gains = scores(preds) - scores(other)
    estimate = metrics.macro_f1(labels, preds) - metrics.macro_f1(labels, other)
    result = bootstrap.paired(labels, preds, other, groups=groups, draws=60, seed=2)
    np.testing.assert_allclose([result["low"], result["high"]], bootstrap.bounds(gains, estimate))
    table = bootstrap.compare(labels, {"other": other, "preds": preds}, "other", groups, 60, 2).set_index("name")
    assert table.loc["preds", ["gain_low", "gain_high"]].tolist() == [result["low"], result["high"]]
    alone = bootstrap.interval(labels, preds, groups=groups, draws=60, seed=2)
    assert table.loc["preds", ["low", "high"]].tolist() == [alone["low"], alone["high"]]
    wins = (gains - gains.mean() + estimate > 0).mean()  # without the bias of the resamples, as the interval
    assert 0.1 < wins < 0.9
    assert bootstrap.win_shares(labels, {"preds": preds, "other": other}, groups, 60, 2)["preds"] == wins
    assert bootstrap.win_shares(labels, {"preds": preds, "other": other}, None, 60, 2)["preds"] != wins


def test_ties_are_shared_whatever_the_bias_of_the_resamples():
    labels, preds = draw_case(400)
    wrong = preds.copy()
    row = np.flatnonzero(labels[:, 3] & preds[:, 3])[0]
    wrong[row, 3] = 0  # one cell: a third of the resamples lack its image, and are ties
    for seed in range(4):
        pair = bootstrap.paired(labels, preds, wrong, draws=200, seed=seed)
        gains, _ = bootstrap.resample_gains(labels, preds, wrong, draws=200, seed=seed)
        ties = (gains == 0).mean()
        assert 0.2 < ties < 0.5 and pair["share_better"] <= 1 - ties / 2 + 1e-9
        shares = bootstrap.win_shares(labels, {"preds": preds, "wrong": wrong}, draws=200, seed=seed)
        assert shares["wrong"] >= ties / 2 - 1e-9


def test_images_without_a_group_are_one_group_and_count():
    labels, preds = np.eye(4, 28, dtype=np.uint8), np.eye(4, 28, dtype=np.uint8)
    counts = bootstrap.resample(labels, preds, np.array(["a", "b", np.nan, np.nan], object), 50, 0)
    assert counts[0].sum(axis=1).max() > 2, "the two images without a group are drawn too"

"""Families against their definition in loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from aclnet.losses.families import (
    ConfusionCounter,
    Families,
    FamilySettings,
    family_temperature,
    relate,
)


@st.composite
def confusions(draw):
    """Counts (C, C) and samples (C,), some of either zero."""
    C = draw(st.integers(2, 14))
    counts = draw(hnp.arrays(np.int64, (C, C), elements=st.integers(0, 6)))
    np.fill_diagonal(counts, 0)
    spread = draw(hnp.arrays(np.int64, C, elements=st.sampled_from([0, 1, 40, 900])))
    return counts, spread


def by_definition(counts, samples, settings):
    """Affinity and families, a pair at a time, in the arithmetic of float32."""
    C = len(samples)
    k, threshold = settings.num_neighbours(C), settings.min_overlap(C)
    direct = []
    for a in range(C):
        scored = []
        for b in range(C):
            both = counts[a, b] + counts[b, a]
            enough = both >= settings.min_count and both > 0
            share = np.float32(settings.min_share)
            often = any(np.float32(both) >= share * np.float32(samples[c]) for c in (a, b))
            if a != b and enough and often:
                rate_ab = np.float32(counts[a, b]) / np.float32(max(samples[a], 1))
                rate_ba = np.float32(counts[b, a]) / np.float32(max(samples[b], 1))
                scored.append((-(rate_ab + rate_ba), b))
        direct.append({b for _, b in sorted(scored)[:k]})
    affinity = np.zeros((C, C))
    for a in range(C):
        for b in range(C):
            common = len(direct[a] & direct[b])
            affinity[a, b] = 0.5 * (b in direct[a])
            if a != b and common >= threshold:
                affinity[a, b] += common / max(1, len(direct[a]))
    above = affinity > settings.affinity_threshold
    return affinity, above | above.T


settings_of_default = st.builds(
    FamilySettings,
    neighbours=st.sampled_from([None, 1, 4]),
    overlap=st.sampled_from([None, 1]),
    min_count=st.sampled_from([0, 2, 5]),
    min_share=st.sampled_from([0, 0.01, 0.25]),
    affinity_threshold=st.sampled_from([0, 0.5]),
)


@given(confusions(), settings_of_default)
def test_default_by_definition(confusion, settings):
    counts, samples = confusion
    related = relate(torch.from_numpy(counts), torch.from_numpy(samples), settings)
    affinity, member = by_definition(counts, samples, settings)
    np.testing.assert_allclose(related.affinity.numpy(), affinity, rtol=1e-6)
    np.testing.assert_array_equal(related.member.numpy(), member)


@given(confusions())
def test_families_are_mutual_and_without_oneself(confusion):
    member = relate(*map(torch.from_numpy, confusion), FamilySettings()).member
    assert torch.equal(member, member.T)
    assert not member.diagonal().any()


def test_one_stray_confusion_makes_no_family():
    counts = torch.zeros(4, 4)
    counts[0, 1] = 1
    assert not relate(counts, torch.full((4,), 10.0), FamilySettings()).member.any()
    counts[1, 0] = 1
    assert relate(counts, torch.full((4,), 10.0), FamilySettings()).member.sum() == 2
    assert not relate(counts, torch.full((4,), 1000.0), FamilySettings()).member.any()


def test_ties_go_to_the_lower_index():
    counts = torch.zeros(9, 9)
    counts[8, :8] = 5
    settings = FamilySettings(neighbours=3)
    affinity = relate(counts, torch.full((9,), 20.0), settings).affinity
    assert (affinity[8] >= 0.5).nonzero().flatten().tolist() == [0, 1, 2]


def test_official_own_class_fills_up_and_counts():
    """No confusions at all: the first ten classes are everybody's neighbours."""
    settings = FamilySettings(mode="official", temperature="steps")
    member = relate(torch.zeros(12, 12), torch.zeros(12), settings).member
    everybody = torch.ones(12, 12, dtype=torch.bool)
    everybody[10, 10] = everybody[11, 11] = False
    assert torch.equal(member, everybody)


@pytest.mark.parametrize(
    ("classes", "neighbours", "overlap"),
    [(2, 1, 2), (3, 2, 2), (12, 3, 2), (30, 5, 3), (60, 10, 5), (120, 10, 5), (400, 10, 5)],
)
def test_sizes_follow_the_classes(classes, neighbours, overlap):
    settings = FamilySettings()
    assert settings.num_neighbours(classes) == neighbours
    assert settings.min_overlap(classes) == overlap


def logits_of(predicted, classes):
    return torch.eye(classes)[predicted]


class TestCounter:
    def test_official_counts_by_loops(self):
        generator = torch.Generator().manual_seed(0)
        counter = ConfusionCounter(5, FamilySettings(mode="official"))
        expected = np.zeros((5, 5))
        for _ in range(4):
            labels = torch.randint(5, (9,), generator=generator)
            predicted = torch.randint(5, (9,), generator=generator)
            counter.add(logits_of(predicted, 5), labels)
            counter.decay()
            for a, taken_for in zip(labels, predicted, strict=True):
                expected[a, taken_for] += a != taken_for
                for other, other_taken_for in zip(labels, predicted, strict=True):
                    expected[a, other] += other_taken_for == a and other != a
        np.testing.assert_array_equal(counter.counts.numpy(), expected)

    def test_default_counts_and_forgets(self):
        counter = ConfusionCounter(3, FamilySettings(decay=0.5))
        counter.add(logits_of([0, 1, 1, 2], 3), torch.tensor([0, 0, 0, 1]))
        counter.decay()
        counter.add(logits_of([0], 3), torch.tensor([2]))
        assert counter.counts.tolist() == [[0, 1, 0], [0, 0, 0.5], [1, 0, 0]]
        assert counter.samples.tolist() == [1.5, 0.5, 1]

    def test_probabilities_of_wrong_classes_by_loops(self):
        counter = ConfusionCounter(4, FamilySettings(confusions="probability"))
        generator = torch.Generator().manual_seed(0)
        logits = 3 * torch.randn(9, 4, generator=generator)
        labels = torch.randint(3, (9,), generator=generator)
        counter.add(logits, labels)
        counter.decay()
        counter.add(logits[:2], labels[:2])
        expected, samples = np.zeros((4, 4)), np.zeros(4)
        for row, weight in [*zip(range(9), [0.9] * 9, strict=True), (0, 1.0), (1, 1.0)]:
            shares = np.exp(logits[row].numpy()) / np.exp(logits[row].numpy()).sum()
            samples[labels[row]] += weight
            for c in range(4):
                expected[labels[row], c] += weight * shares[c] * (c != labels[row])
        np.testing.assert_allclose(counter.counts.numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(counter.samples.numpy(), samples, rtol=1e-6)

    def test_probabilities_relate_classes_of_samples_that_are_right(self):
        shares = torch.tensor([[0.7, 0.3, 0.0], [0.3, 0.7, 0.0], [0.0, 0.0, 1.0]])
        logits, labels = shares.log().repeat(4, 1), torch.arange(3).repeat(4)
        found = []
        for confusions in ("predicted", "probability"):
            settings = FamilySettings(confusions=confusions)
            counter, families = ConfusionCounter(3, settings), Families(3, settings)
            counter.add(logits, labels)
            families.rebuild(counter)
            found.append(families.member.nonzero().tolist())
        assert found == [[], [[0, 1], [1, 0]]]

    def test_the_official_mode_counts_predictions(self):
        with pytest.raises(ValidationError, match=r"confusions=probability .*mode=default"):
            FamilySettings(mode="official", confusions="probability")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.1, 0.1, 0.145, 0.55, 1.0, 1.0]),
        ("steps", [0.1, 0.1, 0.5, 0.5, 1.0, 1.0]),
        (0.3, [0.3] * 6),
    ],
)
def test_temperature(schedule, expected):
    size = torch.tensor([0, 10, 11, 20, 30, 60])
    actual = family_temperature(size, 10, FamilySettings(temperature=schedule))
    assert actual.tolist() == pytest.approx(expected)


def test_state_is_in_the_checkpoint():
    settings = FamilySettings()
    counter, families = ConfusionCounter(4, settings), Families(4, settings)
    counter.add(logits_of([1, 1, 0], 4), torch.tensor([0, 0, 1]))
    families.rebuild(counter)
    assert families.member.any()
    again = Families(4, settings)
    again.load_state_dict(families.state_dict(), strict=True)
    for name, value in families.named_buffers():
        assert torch.equal(value, again.get_buffer(name))


@pytest.mark.parametrize(
    ("start", "epochs", "first"), [(0.2, 150, 30), (0.2, 4, 1), (0.07, 100, 7), (0, 10, 1)]
)
def test_clock(start, epochs, first):
    assert FamilySettings(start=start).start_epoch(epochs) == first


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="neighbors"):
        FamilySettings.model_validate({"neighbors": 3})

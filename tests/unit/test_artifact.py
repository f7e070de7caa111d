"""The artifact's machine: only a released one is served, and an end stays an end."""

from backend.domain.artifact import GONE, TRANSITIONS, ArtifactState, sources_of


def test_only_what_is_withheld_or_taken_down_is_released() -> None:
    assert sources_of(ArtifactState.RELEASED) == {ArtifactState.WITHHELD, ArtifactState.TAKEN_DOWN}


def test_only_what_was_released_is_taken_down() -> None:
    assert sources_of(ArtifactState.TAKEN_DOWN) == {ArtifactState.RELEASED}


def test_nothing_comes_back_from_an_end() -> None:
    assert {state for state, targets in TRANSITIONS.items() if not targets} == GONE
    for state in GONE:
        assert sources_of(state) == set(ArtifactState) - GONE


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(ArtifactState)

from hypothesis import given
from hypothesis import strategies as st

from vlprompt.training.fit import batches
from vlprompt.utils.seeds import derived_seed


@given(count=st.integers(1, 200), size=st.integers(1, 64), seed=st.integers(0, 2**62))
def test_batches_are_whole_and_no_image_comes_twice(count: int, size: int, seed: int) -> None:
    order = batches(count, size, seed)
    seen = [index for batch in order for index in batch]
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(count))
    assert {len(batch) for batch in order} == {min(size, count)}
    assert count - len(seen) < min(size, count)
    assert order == batches(count, size, seed)


def test_seeds_depend_on_every_part() -> None:
    assert derived_seed("epoch", 1, 2) == derived_seed("epoch", 1, 2)
    assert len({derived_seed("epoch", a, b) for a in range(4) for b in range(4)}) == 16
    assert derived_seed("epoch", 1, 2) == 817520774821060

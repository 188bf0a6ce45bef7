"""What two sides of a split have in common that they should not, and what one lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyball.data.findings import Finding, rows_in_words

if TYPE_CHECKING:
    import polars as pl


def find_shared_rows(train: pl.DataFrame, test: pl.DataFrame, columns: list[str]) -> list[Finding]:
    """A finding when rows of the test part also stand in training, equal in all of `columns`; else nothing."""
    import polars as pl

    if train.is_empty() or test.is_empty():
        return []
    mine, theirs = train.select(columns), test.select(columns)
    # By hash first: a join on fifty columns is slow, and candidates are few.
    suspects = theirs.filter(theirs.hash_rows().is_in(mine.hash_rows().implode()))
    if suspects.is_empty():
        return []
    known = mine.filter(mine.hash_rows().is_in(suspects.hash_rows().implode())).unique()
    shared = suspects.join(known, on=columns, how="semi", nulls_equal=True).select(pl.len()).item()
    if not shared:
        return []
    return [
        Finding(
            kind="shared_rows",
            sentence=f"{rows_in_words(shared, test.height)} of the test part also stand in training, target and all; "
            "what is measured there looks better than it is. Remove repeated rows, or split by group",
            facts={"rows": shared, "of": test.height},
        )
    ]


def find_shared_entities(train: pl.DataFrame, test: pl.DataFrame, entity: str) -> list[Finding]:
    """A finding when rows of the test part are about entities that training has seen; else nothing."""
    shared = int(test[entity].is_in(train[entity].drop_nulls().unique().implode()).sum())
    if not shared:
        return []
    return [
        Finding(
            kind="shared_entities",
            sentence=f"{rows_in_words(shared, test.height)} of the test part are about a {entity} that training has "
            f'seen; if new ones come in service, split with by = "group", column = "{entity}"',
            facts={"rows": shared, "of": test.height, "entity": entity},
        )
    ]


def find_unseen_classes(train: pl.DataFrame, test: pl.DataFrame, target: str) -> list[Finding]:
    """A finding when the test part has classes that training never saw; else nothing."""
    unseen = sorted(set(test[target].unique().to_list()) - set(train[target].unique().to_list()))
    if not unseen:
        return []
    shown = ", ".join(repr(label) for label in unseen[:5])
    return [
        Finding(
            kind="unseen_class",
            sentence=f"{target} has classes in the test part that training never saw: {shown}",
            facts={"classes": [str(label) for label in unseen[:20]]},
        )
    ]

"""Parquet files become one by copying their row groups: what any reader of the format sees is all their rows."""

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from helpers.batch.joined import join

ROWS = 5_000
LISTS = pa.list_(pa.field("element", pa.int64()))  # as Parquet calls them


@pytest.fixture
def table() -> pa.Table:
    random = np.random.default_rng(0)
    numbers = random.normal(size=ROWS)
    return pa.table(
        {
            "id": np.arange(ROWS) - 100,
            "number": pa.array(numbers, mask=numbers > 1),
            "text": random.choice(["a", "Größe", ""], ROWS),
            "yes": numbers > 0,
            "when": pa.array(np.arange(ROWS), pa.timestamp("us", "UTC")),
            "lists": pa.array([[i, None] if i % 3 else None for i in range(ROWS)], LISTS),
            **{f"x{i}": random.normal(size=ROWS).astype(np.float32) for i in range(20)},
        }
    ).replace_schema_metadata({"made": "up"})


@pytest.mark.parametrize("how", [{}, {"write_page_index": True, "compression": "none"}, {"use_dictionary": False}])
def test_all_rows_are_in_one_file_with_what_the_footers_say_of_them(table, tmp_path, how):
    cuts, parts = [0, 1_000, 1_000, 4_200, ROWS], []  # one of the parts is empty
    for i, (start, end) in enumerate(zip(cuts, cuts[1:], strict=False)):
        parts.append(tmp_path / f"part-{i}.parquet")
        pq.write_table(table[start:end], parts[-1], row_group_size=150, **how)
    join(parts, tmp_path / "whole.parquet")

    file = pq.ParquetFile(tmp_path / "whole.parquet", page_checksum_verification=True)
    assert file.read().equals(table, check_metadata=True)
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [
        part.metadata.row_group(i).num_rows
        for part in map(pq.ParquetFile, parts)
        for i in range(part.metadata.num_row_groups)
    ]
    assert file.read_row_group(len(groups) - 1)["id"].to_pylist()[-1] == ROWS - 101
    statistics = [group.column(0).statistics for group in groups if group.num_rows]
    assert all(one.max < two.min for one, two in zip(statistics, statistics[1:], strict=False))
    found = ds.dataset(tmp_path / "whole.parquet").to_table(filter=ds.field("id") >= 4_000)
    assert found.equals(table.filter(ds.field("id") >= 4_000))


def test_what_was_joined_is_joined_again(table, tmp_path):
    once, twice = tmp_path / "once.parquet", tmp_path / "twice.parquet"
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=400)
    join([tmp_path / "part.parquet"] * 2, once)
    join([tmp_path / "part.parquet", once], twice)
    assert pq.read_table(twice).equals(pa.concat_tables([table] * 3))

"""Rows scored by DuckDB and ONNX Runtime, for `bench --batches`; knows nothing of this project.

Words: the ONNX file, the Parquet file, the one to write, the features in order as JSON. Prints seconds.
"""

import json
import sys
import time

import duckdb
import numpy as np
import onnxruntime
import pyarrow as pa

model, source, target, names = sys.argv[1:]
names = json.loads(names)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options)
feed, wanted = session.get_inputs()[0].name, session.get_outputs()[0].name


def score(*columns):
    matrix = np.stack([column.to_numpy() for column in columns], axis=1).astype(np.float32, copy=False)
    return pa.array(session.run([wanted], {feed: matrix})[0].ravel())


started = time.perf_counter()
connection = duckdb.connect()
words = ", ".join(f"c{i}" for i in range(len(names)))  # DuckDB takes no function of any number of columns
function = eval(f"lambda {words}: score({words})", {"score": score})
connection.create_function("score", function, ["FLOAT"] * len(names), "FLOAT", type="arrow")
listed = ", ".join(f'"{name}"::FLOAT' for name in names)
connection.execute(
    f"COPY (SELECT *, score({listed}) AS probability FROM read_parquet('{source}')) TO '{target}' (FORMAT parquet)"
)
print(time.perf_counter() - started)

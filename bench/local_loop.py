"""A plain loop around onnxruntime over some rows of an npy file, writing Parquet: what jobs are compared with.

`python -m bench.local_loop MODEL ROWS.npy BEGIN END BATCH OUT`: says `ready`, waits for a line, runs, then says for how
many seconds it computed. A row group has as many bytes as one of a job's pieces.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.datasets.pieces import ROW_GROUP_BYTES


def main() -> None:
    """Load, wait for the start, run."""
    model, rows, begin, end, batch, out = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]
    data = np.load(rows, mmap_mode="r")
    session.run(None, {name: np.ascontiguousarray(data[: min(int(batch), len(data))])})
    print("ready", flush=True)
    sys.stdin.readline()
    began_s = time.process_time()
    writer, waiting = None, list[pa.Table]()
    for at in range(int(begin), int(end), int(batch)):
        found = session.run(outputs, {name: np.ascontiguousarray(data[at : min(at + int(batch), int(end))])})
        columns = [pa.FixedSizeListArray.from_arrays(pa.array(y.reshape(-1)), y[0].size) for y in found]
        table = pa.Table.from_arrays(columns, names=outputs)
        writer = writer or pq.ParquetWriter(out, table.schema, use_dictionary=False)
        waiting.append(table)
        if sum(part.nbytes for part in waiting) >= ROW_GROUP_BYTES:
            writer.write_table(pa.concat_tables(waiting))
            waiting = []
    if writer:
        writer.write_table(pa.concat_tables(waiting) if waiting else table.slice(0, 0))
        writer.close()
    print(time.process_time() - began_s, flush=True)


if __name__ == "__main__":
    main()

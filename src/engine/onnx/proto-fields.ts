/** @file Field numbers of onnx.proto (ONNX 1.17), by message. */

export const MODEL = { irVersion: 1, producer: 2, producerVersion: 3, graph: 7, opset: 8, metadata: 14, functions: 25 } as const;
/** StringStringEntryProto. */
export const ENTRY = { key: 1, value: 2 } as const;
export const OPSET = { domain: 1, version: 2 } as const;
export const GRAPH = { node: 1, name: 2, initializer: 5, input: 11, output: 12, sparse: 15 } as const;
export const FUNCTION = { node: 7 } as const;
export const NODE = { input: 1, output: 2, op: 4, attribute: 5, domain: 7 } as const;
export const ATTRIBUTE = {
  name: 1,
  float: 2,
  int: 3,
  string: 4,
  tensor: 5,
  graph: 6,
  ints: 8,
  tensors: 10,
  graphs: 11,
  type: 20,
  sparse: 22,
  sparses: 23,
} as const;
export const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, ints: 7 } as const;
export const TENSOR = { dims: 1, dtype: 2, name: 8, raw: 9, external: 13, location: 14 } as const;
/** TensorProto.DataLocation: in another file. */
export const EXTERNAL = 1;
export const SPARSE = { values: 1, indices: 2 } as const;
export const VALUE = { name: 1, type: 2 } as const;
export const TYPE = { tensor: 1, dtype: 1, shape: 2, dim: 1, dimValue: 1, dimName: 2 } as const;

/** @file Weights in a file beside their model: a protobuf message has less than 2 GiB. */
import { type ExternalPlaces, initializerBytes, initializerData, type OnnxModel, type Pieces } from "./proto.ts";

/** Smaller ones stay in the model: ONNX's tools leave those, too, and shapes are read from them. */
const LEAST_BYTES = 1024;
/** Each begins at a page, so that it can be mapped into memory. */
const PAGE_BYTES = 4096;

/** The file of a model's weights. */
export interface ExternalFile extends ExternalPlaces, Pieces {}

/** Lays out a model's weights in a file of that name. */
export function externalFile(model: OnnxModel, location: string): ExternalFile {
  const far = model.initializers.filter((own) => initializerBytes(own) >= LEAST_BYTES);
  const places = new Map<string, { readonly offset: number; readonly length: number }>();
  let end = 0;
  for (const own of far) {
    const offset = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
    const length = initializerBytes(own);
    places.set(own.name, { offset, length });
    end = offset + length;
  }
  const pieces = function* (): Generator<Uint8Array> {
    let at = 0;
    for (const own of far) {
      const { offset = 0, length = 0 } = places.get(own.name) ?? {};
      yield new Uint8Array(offset - at);
      yield initializerData(own);
      at = offset + length;
    }
  };
  return { location, places, sizeBytes: end, pieces: { [Symbol.iterator]: pieces } };
}

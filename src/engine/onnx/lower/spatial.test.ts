import { describe, expect, test } from "vitest";
import { gradients } from "../../grad/index.ts";
import { optimize } from "../../passes/index.ts";
import { Builder, conv, type ConvOptions, gather, maxPool, scatterAdd, sumAll, type Tensor } from "../../trace/index.ts";
import { decodeModel } from "../proto-decode.ts";
import { lowerStage } from "./index.ts";
import { imageChunks } from "./spatial.ts";

/** The ONNX ops of a graph, in order. */
function opsOf(builder: Builder): string[] {
  const graph = optimize(builder.graph());
  const outputs = graph.outputs.map((o) => o.value);
  return decodeModel(lowerStage(graph.nodes, outputs).bytes).nodes.map((n) => n.op);
}

/** The ops of one gradient of the sum over a convolution's output. */
function gradientOps(of: "x" | "w", [x, w]: readonly [readonly number[], readonly number[]], options: ConvOptions): string[] {
  const builder = new Builder();
  const operands = { x: builder.input("x", x), w: builder.input("w", w) };
  const [g] = gradients(sumAll(conv(operands.x, operands.w, options)), [operands[of]]);
  builder.output("g", g ?? operands[of]);
  return opsOf(builder).filter((op) => op !== "Expand" && op !== "Reshape");
}

describe("convolutions", () => {
  const dense = [
    [2, 3, 6, 6],
    [4, 3, 3, 3],
  ] as const;
  const depthwise = [
    [2, 3, 6, 6],
    [3, 1, 3, 3],
  ] as const;
  const pointwise = [
    [2, 3, 6, 6],
    [4, 3, 1, 1],
  ] as const;

  test("take the gradient of a dense input by ConvTranspose, of a depthwise one by Conv with flipped kernels, of 1 x 1 by Conv", () => {
    expect(gradientOps("x", dense, { pad: 1 })).toEqual(["ConvTranspose"]);
    expect(gradientOps("x", depthwise, { pad: 1, groups: 3 })).toEqual(["Slice", "Conv"]);
    expect(gradientOps("x", depthwise, { stride: 2, groups: 3 })).toEqual(["ConvTranspose"]);
    expect(gradientOps("x", pointwise, {})).toEqual(["Transpose", "Conv"]);
  });

  test("take the gradient of dense weights as columns and one Gemm, of depthwise ones by Conv with the cotangent as kernels", () => {
    const columns = ["Transpose", "Pad", "Transpose", ...Array<string>(9).fill("Slice"), "Concat", "Gemm"];
    expect(gradientOps("w", dense, { pad: 1 })).toEqual(columns);
    expect(gradientOps("w", pointwise, {})).toEqual(["Transpose", "Transpose", "Gemm"]);
    expect(gradientOps("w", depthwise, { pad: 1, groups: 3 })).toEqual(["Conv", "Slice", "ReduceSum"]);
  });

  test("make columns of few images at once where they would take more than 32 MiB", () => {
    expect(imageChunks(8, 2 ** 20)).toEqual([8]);
    expect(imageChunks(9, 2 ** 20)).toEqual([8, 1]);
    expect(imageChunks(2, 2 ** 30)).toEqual([1, 1]);
  });
});

describe("sums at indices", () => {
  const trace = (make: (x: Tensor, indices: Tensor) => Tensor): string[] => {
    const builder = new Builder();
    const x = builder.input("x", [4, 2, 3]);
    const indices = builder.input("i", [4], { dtype: "i32" });
    const [g] = gradients(sumAll(make(x, indices)), [x]);
    builder.output("g", g ?? x);
    return opsOf(builder);
  };

  test("are made in order where an index may come twice: ScatterND(add) of ONNX Runtime loses sums there", () => {
    expect(trace((x, i) => gather(x, i))).toContain("ScatterElements");
    const builder = new Builder();
    const pooled = builder.input("x", [1, 1, 4, 4]);
    const [g] = gradients(sumAll(maxPool(pooled, 3, { stride: 2, pad: 1 })), [pooled]);
    builder.output("g", g ?? pooled);
    expect(opsOf(builder)).toContain("ScatterElements");
    expect(opsOf(builder)).not.toContain("ScatterND");
  });

  test("run on all threads where none does, by promise", () => {
    expect(trace((x, i) => gather(x, i, { unique: true }))).toContain("ScatterND");
    expect(trace((x, i) => scatterAdd(gather(x, i, { unique: true }), i, { rows: 4, unique: true }))).not.toContain("ScatterElements");
  });
});

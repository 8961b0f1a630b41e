import { describe, expect, test } from "vitest";
import { InternalError, ShapeError } from "../../core/index.ts";
import { add, Builder, gelu } from "../trace/index.ts";
import type { Graph, Node } from "./types.ts";
import { verifyGraph } from "./verify.ts";

/** y = gelu(x + w). */
function sound(): Graph {
  const b = new Builder();
  b.output("y", gelu(add(b.input("x", [2, 3]), b.input("w", [3]))));
  return b.graph();
}

/** The sound graph with its nodes changed. */
function withNodes(change: (nodes: readonly Node[]) => readonly Node[]): Graph {
  const graph = sound();
  return { ...graph, nodes: change(graph.nodes) };
}

function changed(node: Node | undefined, change: Partial<Node>): Node {
  if (node === undefined) throw new InternalError("Cannot change a node: there is none");
  return { ...node, ...change };
}

describe("verifyGraph()", () => {
  test("returns a sound graph as it is", () => {
    const graph = sound();
    expect(verifyGraph(graph)).toBe(graph);
  });

  const broken: readonly (readonly [what: string, graph: () => Graph, message: RegExp])[] = [
    ["a node before what it reads", () => withNodes((n) => n.toReversed()), /gelu\(%2\): %2 is used before it is made; /],
    ["a missing node", () => withNodes((n) => n.slice(1)), /gelu\(%2\): %2 is used before it is made; /],
    ["a node twice", () => withNodes((n) => [...n, ...n.slice(1)]), /%3: float32\[2,3\] = gelu\(%2\): %3 is defined twice; /],
    [
      "an output type that its rule does not infer",
      () => withNodes(([a, b]) => [changed(a, {}), changed(b, { outputs: [{ id: 3, dtype: "f32", shape: [3, 2] }] })]),
      /%3: float32\[3,2\] = gelu\(%2\): its outputs have other types than its rule infers; /,
    ],
    [
      "an output too many",
      () =>
        withNodes(([a, b]) => [changed(a, {}), changed(b, { outputs: [...(b?.outputs ?? []), { id: 9, dtype: "f32", shape: [2, 3] }] })]),
      /its outputs have other types than its rule infers; /,
    ],
    [
      "inputs that do not fit the op",
      () => withNodes(([a, b]) => [changed(a, { inputs: (a?.inputs ?? []).slice(1) }), changed(b, {})]),
      /add\(%1\): its inputs do not fit its rule; /,
    ],
    [
      "a value read as another type than it was made",
      () =>
        withNodes(([a, b]) => [
          changed(a, {}),
          changed(b, { inputs: [{ id: 2, dtype: "f32", shape: [6] }], outputs: [{ id: 3, dtype: "f32", shape: [6] }] }),
        ]),
      /%2 is used as float32\[6\] and made as float32\[2,3\]; /,
    ],
    [
      "an output that is never made",
      () => ({ ...sound(), outputs: [{ name: "y", kind: "output", value: { id: 7, dtype: "f32", shape: [] } }] }),
      /output "y": %7 is used before it is made; /,
    ],
    [
      "two inputs of one name",
      () => ({ ...sound(), inputs: [...sound().inputs, ...sound().inputs] }),
      /input "x": there are two of this name; /,
    ],
    [
      "two outputs of one name",
      () => ({ ...sound(), outputs: [...sound().outputs, ...sound().outputs] }),
      /output "y": there are two of this name; /,
    ],
    [
      "two inputs of one id",
      () => ({ ...sound(), inputs: [...sound().inputs, { name: "v", kind: "input", value: { id: 0, dtype: "f32", shape: [2, 3] } }] }),
      /input "v": %0 is defined twice; /,
    ],
  ];

  test.each(broken)("refuses %s", (_, graph, message) => {
    expect(() => verifyGraph(graph())).toThrow(InternalError);
    expect(() => verifyGraph(graph())).toThrow(message);
    expect(() => verifyGraph(graph())).toThrow(/^Cannot verify .+: .+; the pass or trace that made it is wrong$/);
  });

  test("keeps the shape rule's own words as the cause", () => {
    const graph = withNodes(([a, b]) => [changed(a, { inputs: [{ id: 0, dtype: "f32", shape: [2, 3] }] }), changed(b, {})]);
    try {
      verifyGraph(graph);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ cause: new ShapeError("Cannot add float32[2,3]: 1 inputs were given; pass 2") });
    }
  });
});

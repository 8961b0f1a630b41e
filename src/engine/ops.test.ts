/** @file Every op of the table: types, refusals, values and gradients, on the interpreter and on ONNX Runtime. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatType } from "../core/index.ts";
import { expectClose } from "../core/testing/golden.ts";
import { gradients, NO_GRADIENT, NOT_TWICE, VJP } from "./grad/index.ts";
import { inferTypes, isFloat, type OpName, type ValueType } from "./ir/index.ts";
import { type Device, openCpu } from "./runtime/index.ts";
import { OP_CASES } from "./testing/cases/index.ts";
import type { OpCase, OpCases } from "./testing/op-case.ts";
import {
  centralDifferences,
  floatInputs,
  gradientGraph,
  interpretCase,
  runCase,
  runOptimized,
  traceCase,
  valueGraph,
} from "./testing/run-case.ts";
import { sumAll } from "./trace/index.ts";

let device: Device;
beforeAll(() => {
  device = openCpu({ threads: 2 });
});
afterAll(() => {
  device[Symbol.dispose]();
});

const EXACT = { atol: 1e-9, rtol: 1e-9 };
const NUMERIC = { atol: 1e-7, rtol: 1e-6 };
const FLOAT32 = { atol: 2e-6, rtol: 1e-5 };
const GRADIENT32 = { atol: 1e-5, rtol: 1e-4 };

const show = (t: ValueType): string => formatType(t.dtype, t.shape);

function testValue<K extends OpName>(op: K, one: OpCase<K>): void {
  test(`${one.name}: has the types and values it should, on ONNX Runtime too`, async () => {
    const graph = valueGraph(op, one);
    expect(graph.outputs.map((o) => show(o.value))).toEqual(one.types);
    const truth = interpretCase(graph, one.inputs);
    one
      .want?.(...one.inputs.map((x) => x.data))
      .forEach((want, i) => expectClose(truth.get(`y${i}`) ?? [], want, { ...EXACT, what: `interpreter's y${i}` }));
    const got = await runCase(device, graph, one.inputs);
    for (const [name, want] of truth) expectClose(got.get(name) ?? [], want, { ...(one.tolerance ?? FLOAT32), what: `device's ${name}` });
  });
}

function testNumeric<K extends OpName>(op: K, one: OpCase<K>): void {
  test(`${one.name}: its gradient is that of central differences`, () => {
    const graph = gradientGraph(op, one, { float: "f64" });
    const truth = interpretCase(graph, one.inputs);
    const lossOnly = { ...graph, outputs: graph.outputs.filter((o) => o.name === "loss") };
    for (const i of floatInputs(one.inputs)) {
      const numeric = centralDifferences(lossOnly, one.inputs, i);
      expectClose(truth.get(`g${i}`) ?? [], numeric, { ...NUMERIC, what: `gradient of input ${i}` });
      const alone = interpretCase(gradientGraph(op, one, { float: "f64", wrt: [i] }), one.inputs);
      expectClose(alone.get(`g${i}`) ?? [], numeric, { ...NUMERIC, what: `gradient of input ${i} alone` });
    }
  });
}

function testDevice<K extends OpName>(op: K, one: OpCase<K>): void {
  test(`${one.name}: its gradient on ONNX Runtime is the interpreter's`, async () => {
    const graph = gradientGraph(op, one);
    const truth = interpretCase(graph, one.inputs);
    const got = await runOptimized(device, graph, one.inputs);
    for (const [name, want] of truth) expectClose(got.get(name) ?? [], want, { ...(one.tolerance ?? GRADIENT32), what: name });
  });
}

/** Whether a gradient of this case makes sense: floats in and out. */
function hasGradient<K extends OpName>(one: OpCase<K>): boolean {
  return one.gradient !== "none" && floatInputs(one.inputs).length > 0;
}

function testSmooth<K extends OpName>(op: K, { cases }: OpCases<K>): void {
  test("has a gradient rule", () => {
    expect(VJP[op]).toBeTypeOf("function");
  });
  expect(cases.some(hasGradient)).toBe(true);
  for (const one of cases.filter(hasGradient)) {
    if (one.gradient !== "device") testNumeric(op, one);
    testDevice(op, one);
  }
}

function testNone<K extends OpName>(op: K, { cases }: OpCases<K>): void {
  test("says that it has no gradient, and hands none on", () => {
    expect(VJP[op]).toBe(NO_GRADIENT);
    const { inputs, outputs } = traceCase(op, cases[0]);
    for (const y of outputs) if (isFloat(y.dtype)) expect(gradients(sumAll(y), inputs)).toEqual(inputs.map(() => undefined));
  });
}

function testNotTwice<K extends OpName>(op: K, { cases }: OpCases<K>): void {
  test("says that it is a gradient itself, and refuses another", () => {
    expect(VJP[op]).toBe(NOT_TWICE);
    const { inputs, outputs } = traceCase(op, cases[0]);
    for (const y of outputs) expect(() => gradients(sumAll(y), inputs)).toThrow(`Cannot differentiate ${op}: it is a gradient itself`);
  });
}

function suite<K extends OpName>(op: K): void {
  const table: OpCases<K> = OP_CASES[op];
  describe(op, () => {
    for (const one of table.cases) testValue(op, one);
    if (table.gradient === "smooth") testSmooth(op, table);
    else if (table.gradient === NO_GRADIENT) testNone(op, table);
    else testNotTwice(op, table);
    for (const { inputs, params, message } of table.refuses)
      test(`refuses ${inputs.map(show).join(", ") || "nothing"}: ${message}`, () => {
        expect(() => inferTypes(op, inputs, params)).toThrow(message);
        expect(() => inferTypes(op, inputs, params)).toThrow(/^Cannot .+: .+; .+$/);
        expect(() => inferTypes(op, inputs, params)).toThrow(TypeError); // ShapeError or DTypeError
      });
  });
}

function isOpName(name: string): name is OpName {
  return name in OP_CASES;
}

for (const op of Object.keys(OP_CASES).filter(isOpName)) suite(op);

/** @file The optimizer's WebAssembly module, written by running the optimizers' own definitions over locals instead of numbers. */
import { adamw } from "../../adamw.ts";
import { ema } from "../../ema.ts";
import type { Ops } from "../../ops.ts";
import { momentumUpdate } from "../../sgd.ts";
import { assembleModule, FunctionBuilder, type Local } from "../../../core/wasm/index.ts";

/** One loop turn does 16 floats, a cache line of every array. */
const TURN_BYTES = 64;
const VECTOR_BYTES = 16;

/** Four float32 at a time: every operation appends one instruction. */
function vectorOps(f: FunctionBuilder): Ops<Local> {
  return {
    add: (a, b) => f.compute("v128", "f32x4.add", a, b),
    sub: (a, b) => f.compute("v128", "f32x4.sub", a, b),
    mul: (a, b) => f.compute("v128", "f32x4.mul", a, b),
    div: (a, b) => f.compute("v128", "f32x4.div", a, b),
    sqrt: (a) => f.compute("v128", "f32x4.sqrt", a),
  };
}

type Locals<K extends string> = { readonly [N in K]: Local };

function mapNames<K extends string>(names: readonly K[], of: (name: K) => Local): Locals<K> {
  return Object.fromEntries(names.map((name) => [name, of(name)])) as Locals<K>; // one entry a name
}

interface LoopOptions<A extends string, S extends string> {
  /** Arrays, all as long as each other; each is an address parameter. */
  readonly arrays: readonly A[];
  /** float32 parameters, the same for all elements. */
  readonly scalars: readonly S[];
  /** The definition; the arrays it returns are written back. */
  readonly body: (ops: Ops<Local>, element: Locals<A>, scalars: Locals<S>) => { readonly [N in A]?: Local };
}

/** `name(bytes: i32, ...addresses: i32, ...scalars: f32)`: applies `body` in place; `bytes` is a multiple of 64 and above 0. */
function elementwiseLoop<A extends string, S extends string>(name: string, options: LoopOptions<A, S>): FunctionBuilder {
  const { arrays, scalars, body } = options;
  const f = new FunctionBuilder(name);
  const bytes = f.param("i32");
  const bases = mapNames(arrays, () => f.param("i32"));
  const plain = mapNames(scalars, () => f.param("f32"));
  const splats = mapNames(scalars, (s) => f.compute("v128", "f32x4.splat", plain[s]));
  f.doWhileBelow(bytes, TURN_BYTES, (at) => {
    const addresses = mapNames(arrays, (a) => f.compute("i32", "i32.add", bases[a], at));
    for (let offset = 0; offset < TURN_BYTES; offset += VECTOR_BYTES) {
      const next = body(
        vectorOps(f),
        mapNames(arrays, (a) => f.load(addresses[a], offset)),
        splats,
      );
      for (const a of arrays) {
        const value = next[a];
        if (value !== undefined) f.store(addresses[a], offset, value);
      }
    }
  });
  return f;
}

/** `dot(bytes, a, b): f64`: Σ aᵢbᵢ in float64 over eight running sums, lane k taking i ≡ k mod 8; the JS kernel adds in the same order. */
function dotLoop(): FunctionBuilder {
  const f = new FunctionBuilder("dot", "f64");
  const [bytes, a, b] = [f.param("i32"), f.param("i32"), f.param("i32")];
  const sums = Array.from({ length: 4 }, () => f.local("v128"));
  const pair = (address: Local, offset: number): Local =>
    f.compute("v128", "f64x2.promote_low_f32x4", f.load(address, offset, "v128.load64_zero"));
  f.doWhileBelow(bytes, TURN_BYTES, (at) => {
    const [x, y] = [f.compute("i32", "i32.add", a, at), f.compute("i32", "i32.add", b, at)];
    for (let offset = 0; offset < TURN_BYTES; offset += 8) {
      const sum = sums[(offset / 8) % 4]!; // four sums
      f.push("f64x2.add", sum, f.compute("v128", "f64x2.mul", pair(x, offset), pair(y, offset)));
      f.set(sum);
    }
  });
  const halves = sums.map((sum) => {
    const half = f.local("f64");
    f.pushLane(sum, 0);
    f.pushLane(sum, 1);
    f.push("f64.add");
    f.set(half);
    return half;
  });
  const [s0, s1, s2, s3] = [halves[0]!, halves[1]!, halves[2]!, halves[3]!]; // four sums
  f.push("f64.add", f.compute("f64", "f64.add", s0, s1), f.compute("f64", "f64.add", s2, s3));
  return f;
}

/** The bytes of the module: `dot`, `adamw`, `momentum`, `ema`. */
export function optimizerModule(): Uint8Array {
  return assembleModule([
    dotLoop(),
    elementwiseLoop("adamw", {
      arrays: ["param", "grad", "mean", "square"],
      scalars: ["clip", "keep", "stepSize", "rootScale", "beta1Rest", "beta2", "beta2Rest", "eps"],
      body: adamw,
    }),
    elementwiseLoop("momentum", {
      arrays: ["param", "grad", "mean"],
      scalars: ["clip", "weightDecay", "trust", "lr", "momentum"],
      body: momentumUpdate,
    }),
    elementwiseLoop("ema", {
      arrays: ["teacher", "param"],
      scalars: ["rest"],
      body: (ops, x, { rest }) => ({ teacher: ema(ops, x, rest) }),
    }),
  ]);
}

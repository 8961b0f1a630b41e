/** @file The kernel in JavaScript: runs everywhere, on buffers of any size. */
import { InternalError } from "../../core/index.ts";
import type { Kernel, KernelBuffers, SharedFloats, Span, UpdateKind } from "./kernel.ts";

const f32 = Math.fround;

// Every index below is inside the span, and spans are inside the buffers by construction of the chunks.

/** Eight running sums, as the WebAssembly kernel's four pairs of lanes. */
function dot(a: SharedFloats, b: SharedFloats, { start, length }: Span): number {
  let [s0, s1, s2, s3, s4, s5, s6, s7] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let i = start; i < start + length; i += 8) {
    s0 += a[i]! * b[i]!;
    s1 += a[i + 1]! * b[i + 1]!;
    s2 += a[i + 2]! * b[i + 2]!;
    s3 += a[i + 3]! * b[i + 3]!;
    s4 += a[i + 4]! * b[i + 4]!;
    s5 += a[i + 5]! * b[i + 5]!;
    s6 += a[i + 6]! * b[i + 6]!;
    s7 += a[i + 7]! * b[i + 7]!;
  }
  return s0 + s1 + (s2 + s3) + (s4 + s5 + (s6 + s7));
}

/** `adamw()` with float32 operations, written out. */
function updateAdamW(buffers: Required<KernelBuffers>, { start, length }: Span, scalars: Float32Array): void {
  const { param, grad, mean, square } = buffers as { readonly [K in keyof KernelBuffers]-?: SharedFloats }; // checked by makeJsKernel
  const [clip = 1, keep = 1, stepSize = 0, rootScale = 1, beta1Rest = 0, beta2 = 0, beta2Rest = 0, eps = 0] = scalars;
  for (let i = start; i < start + length; i++) {
    const g = f32(grad[i]! * clip);
    const m = f32(mean[i]! + f32(beta1Rest * f32(g - mean[i]!)));
    const v = f32(f32(beta2 * square[i]!) + f32(beta2Rest * f32(g * g)));
    const root = f32(f32(f32(Math.sqrt(v)) * rootScale) + eps);
    mean[i] = m;
    square[i] = v;
    param[i] = f32(f32(param[i]! * keep) - f32(stepSize * f32(m / root)));
  }
}

/** `momentumUpdate()` with float32 operations, written out. */
function updateMomentum(buffers: KernelBuffers, { start, length }: Span, scalars: Float32Array): void {
  const { param, grad, mean } = buffers;
  const [clip = 1, weightDecay = 0, trust = 1, lr = 0, momentum = 0] = scalars;
  for (let i = start; i < start + length; i++) {
    const d = f32(f32(grad[i]! * clip) + f32(weightDecay * param[i]!));
    const m = f32(f32(momentum * mean[i]!) + f32(d * trust));
    mean[i] = m;
    param[i] = f32(param[i]! - f32(lr * m));
  }
}

/** `ema()` with float32 operations, written out. */
function updateTeacher(teacher: SharedFloats, param: SharedFloats, options: Span & { readonly rest: number }): void {
  const { start, length, rest } = options;
  for (let i = start; i < start + length; i++) teacher[i] = f32(teacher[i]! + f32(rest * f32(param[i]! - teacher[i]!)));
}

export function makeJsKernel(kind: UpdateKind, buffers: KernelBuffers): Kernel {
  const { param, square = param, teacher = param } = buffers;
  const all = { ...buffers, square, teacher };
  if (kind === "adamw" && buffers.square === undefined)
    throw new InternalError("Cannot make the AdamW kernel: there is no buffer of squares; pass one");
  return {
    dot: (a, b, span) => dot(buffers[a], buffers[b], span),
    update:
      kind === "adamw" ? (span, scalars) => updateAdamW(all, span, scalars) : (span, scalars) => updateMomentum(buffers, span, scalars),
    ema: (span, rest) => updateTeacher(teacher, param, { ...span, rest: f32(rest) }),
  };
}

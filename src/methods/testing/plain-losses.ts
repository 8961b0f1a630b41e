/** @file The objectives of DINO, iBOT, KoLeo, Sinkhorn–Knopp and Gram anchoring as the papers write them, in float64 loops over rows. For tests. */

export type Rows = readonly Float64Array[];

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, x, i) => sum + x * (b[i] ?? Number.NaN), 0);
}

/** Row divided by max(‖row‖, eps). */
function unit(row: Float64Array, eps: number): Float64Array {
  return row.map((x) => x / Math.max(Math.sqrt(dot(row, row)), eps));
}

function softmax(row: Float64Array, temp: number): Float64Array {
  const e = row.map((x) => Math.exp(x / temp));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((x) => x / total);
}

/** −Σ_k t_k ln softmax(s / temp)_k. */
export function crossEntropy(student: Float64Array, teacher: Float64Array, temp: number): number {
  return -dot(softmax(student, temp).map(Math.log), teacher);
}

/**
 * Sinkhorn–Knopp as DINOv2 writes it: Q = exp(t/τ)ᵀ over its sum; three times rows over their sums and K, columns over theirs and B; Q·B.
 */
export function plainSinkhorn(logits: Rows, temp: number): Float64Array[] {
  const [count, k] = [logits.length, logits[0]?.length ?? 0];
  let q = logits.map((row) => row.map((x) => Math.exp(x / temp)));
  const total = q.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0);
  q = q.map((row) => row.map((x) => x / total));
  for (let i = 0; i < 3; i++) {
    const masses = Array.from({ length: k }, (_, c) => q.reduce((sum, row) => sum + (row[c] ?? 0), 0));
    q = q.map((row) => row.map((x, c) => x / (masses[c] ?? Number.NaN) / k));
    q = q.map((row) => {
      const sum = row.reduce((a, b) => a + b, 0);
      return row.map((x) => x / sum / count);
    });
  }
  return q.map((row) => row.map((x) => x * count));
}

export interface Views {
  /** Rows of the student's crops, crop-major, and of the teacher's two. */
  readonly student: Rows;
  readonly teacher: Rows;
  readonly images: number;
  readonly temp: number;
}

/** Mean over images of the cross-entropies of all (teacher crop, student crop) pairs, summed; of global crops none with itself. */
export function plainDino({ student, teacher, images: b, temp }: Views, isGlobal: boolean): number {
  let loss = 0;
  for (let s = 0; s * b < student.length; s++)
    for (let t = 0; t < 2; t++) {
      if (isGlobal && s === t) continue;
      for (let i = 0; i < b; i++)
        loss += crossEntropy(student[s * b + i] ?? new Float64Array(), teacher[t * b + i] ?? new Float64Array(), temp) / b;
    }
  return loss;
}

/** Over all 2B crops the mean of each crop's mean over its masked patches. `student` and `teacher` give a masked patch's row by its place. */
export function plainIbot(
  mask: ArrayLike<number>,
  {
    student,
    teacher,
    patches,
    temp,
  }: { readonly student: Rows; readonly teacher: ReadonlyMap<number, Float64Array>; readonly patches: number; readonly temp: number },
): number {
  const crops = mask.length / patches;
  let loss = 0;
  for (let crop = 0; crop < crops; crop++) {
    const places = Array.from({ length: patches }, (_, p) => crop * patches + p).filter((place) => mask[place] === 1);
    for (const place of places)
      loss += crossEntropy(student[place] ?? new Float64Array(), teacher.get(place) ?? new Float64Array(), temp) / places.length / crops;
  }
  return loss;
}

/** −mean ln(‖x − nearest + ε‖ + ε) over the rows of one crop, neighbours inside groups. */
export function plainKoleo(features: Rows, group: number): number {
  const eps = 1e-8;
  const x = features.map((row) => unit(row, eps));
  const terms = x.map((row, i) => {
    const others = x.filter((_, j) => j !== i && Math.floor(j / group) === Math.floor(i / group));
    const nearest = others.reduce((best, other) => (dot(row, other) > dot(row, best) ? other : best));
    return Math.log(Math.sqrt(row.reduce((sum, v, c) => sum + (v - (nearest[c] ?? Number.NaN) + eps) ** 2, 0)) + eps);
  });
  return -terms.reduce((a, b) => a + b, 0) / terms.length;
}

/** Mean over images and pairs of patches of (cos(x_i, x_j) − cos(g_i, g_j))². */
export function plainGram(student: Rows, teacher: Rows, patches: number): number {
  const [x, g] = [student.map((row) => unit(row, 1e-12)), teacher.map((row) => unit(row, 1e-12))];
  let sum = 0;
  for (let first = 0; first < x.length; first += patches)
    for (let i = first; i < first + patches; i++)
      for (let j = first; j < first + patches; j++) {
        const of = (rows: Rows): number => dot(rows[i] ?? new Float64Array(), rows[j] ?? new Float64Array());
        sum += (of(x) - of(g)) ** 2;
      }
  return sum / (x.length * patches);
}
